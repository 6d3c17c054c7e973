"""What holds for every request: ids, keys, limits, headers, and one log line without content."""

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from support.asgi import exchange
from support.scripted import Scripted
from support.serving import CHAT_PATH, Answers, served, started

from vlmguard.guard.serving import upstream as upstream_module
from vlmguard.guard.serving.front import Cut
from vlmguard.guard.serving.logs import LOGGER

REWRITE = "<reasoning>A fall.</reasoning><prompt>How do I climb it safely?</prompt>"
SENT = {"model": "m", "messages": [{"role": "user", "content": "How do I climb it?"}]}
KEYS = ("key-of-one", "key-of-two")


def roles(script: Any = REWRITE) -> dict[str, Scripted]:
    return {"rewriter": Scripted(script)}


class Scene(httpx.AsyncBaseTransport):
    """An upstream that answers as a function says."""

    def __init__(self, answer: Callable[[httpx.Request], Awaitable[httpx.Response]]) -> None:
        self.answer = answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.answer(request)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[Any]]:
    """The server's log so far."""
    caplog.set_level(logging.INFO, LOGGER.name)
    return lambda: [json.loads(record.getMessage()) for record in caplog.records]


async def test_one_line_a_request_without_its_content(lines: Callable[[], list[Any]]) -> None:
    async with served("vlmguard", roles(), Answers()) as client:
        first = await client.post(CHAT_PATH, json=SENT)
        second = await client.post(CHAT_PATH, json=SENT)
        await client.get("/v1/secrets-of-a-path")
        await client.get("/healthz")
    one, two, lost = lines()
    assert one["id"] == first.headers["x-vlmguard-request-id"] != two["id"]
    assert one["content"] == two["content"]
    assert (one["endpoint"], one["status"], one["action"]) == (CHAT_PATH, 200, "rewrite")
    assert one["bytes_in"] == len(first.request.content)
    assert one["bytes_out"] == len(first.content)
    assert (lost["endpoint"], lost["status"]) == ("other", 404)
    assert second.headers["x-vlmguard-request-id"] == two["id"]
    assert not any(word in json.dumps(lines()) for word in ("climb", "secrets", "fall"))


async def test_content_is_logged_where_that_is_asked_for(lines: Callable[[], list[Any]]) -> None:
    async with served("vlmguard", roles(), Answers(), log_content=True) as client:
        await client.post(CHAT_PATH, json=SENT)
    decided, _ = lines()
    assert decided["asked"] == "How do I climb it?"
    assert decided["decided"] == "How do I climb it safely?"


async def test_an_error_of_the_server_is_told_to_nobody(
    lines: Callable[[], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise ValueError("the words of a user")

    async with served("vlmguard", roles(), Answers()) as client:
        monkeypatch.setattr("vlmguard.guard.serving.proxy.Proxy._read", fails)
        answered = await client.post(CHAT_PATH, json=SENT)
    assert answered.status_code == 500
    assert answered.json()["error"]["code"] == "internal"
    assert "words" not in answered.text + json.dumps(lines())
    assert lines()[0]["raised"] == "ValueError"
    assert lines()[0]["at"][-1].startswith("test_front.py:")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer other"}, 401),
        ({"authorization": "Bearer key-of-on"}, 401),
        ({"authorization": "key-of-one"}, 401),
        ({"authorization": "Basic key-of-one"}, 401),
        ({"x-api-key": "key-of-one,key-of-two"}, 401),
        ({"authorization": "Bearer key-of-one"}, 200),
        ({"authorization": "bearer key-of-two"}, 200),
        ({"x-api-key": "key-of-two"}, 200),
    ],
)
async def test_clients_need_one_of_the_keys(headers: dict[str, str], status: int) -> None:
    upstream = Answers()
    async with served("vlmguard", roles(), upstream, client_keys=KEYS) as client:
        for path in (CHAT_PATH, "/v1/rewrite", "/v1/nothing", "/metrics"):
            sent = {"text": "x"} if path == "/v1/rewrite" else SENT
            method = "GET" if path == "/metrics" else "POST"
            answered = await client.request(method, path, json=sent, headers=headers)
            wanted = 404 if path == "/v1/nothing" and status == 200 else status
            assert answered.status_code == wanted
            if status == 401:
                assert answered.json()["error"]["code"] == "invalid_api_key"
                assert answered.headers["www-authenticate"] == "Bearer"
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200
    # A key for this server is not the upstream's business.
    for got in upstream.headers:
        assert not {"authorization", "x-api-key"} & set(got)


async def test_without_keys_the_clients_own_goes_on() -> None:
    upstream = Answers()
    async with served("vlmguard", roles(), upstream) as client:
        await client.post(CHAT_PATH, json=SENT, headers={"authorization": "Bearer mine"})
    assert upstream.headers[0]["authorization"] == "Bearer mine"


async def test_headers_go_both_ways_without_those_of_a_connection_or_of_ours() -> None:
    seen: list[httpx.Headers] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        body = gzip.compress(b'{"choices": []}')
        headers = [
            ("content-type", "application/json; charset=utf-8"),
            ("content-encoding", "gzip"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("x-request-id", "theirs"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("x-vlmguard-action", "pass"),
            ("x-vlmguard-request-id", "forged"),
        ]
        return httpx.Response(418, headers=headers, stream=httpx.ByteStream(body))

    sent = json.dumps(SENT).encode()
    headers = [
        ("content-type", "application/json;v=1"),
        ("content-length", str(len(sent))),
        ("accept-encoding", "gzip"),
        ("x-vlmguard-action", "pass"),
        ("x-vlmguard-anything", "1"),
        ("connection", "keep-alive, x-mine"),
        ("x-mine", "1"),
        ("te", "trailers"),
        ("x-vendor", "kept"),
    ]
    async with (
        started("vlmguard", roles(), Scene(answer)) as app,
        exchange(app, "POST", CHAT_PATH, sent, headers) as asked,
    ):
        assert await asked.status() == 418
        back = asked.headers
        assert gzip.decompress(await asked.piece()) == b'{"choices": []}'
    (went,) = seen
    assert went["content-type"] == "application/json;v=1"
    assert went["accept-encoding"] == "gzip"
    assert went["x-vendor"] == "kept"
    # The text is longer now.
    assert int(went["content-length"]) == len(sent) + len(" safely")
    assert not {"x-mine", "te", "x-vlmguard-action", "x-vlmguard-anything"} & set(went)
    assert [value for name, value in back if name == "set-cookie"] == ["a=1", "b=2"]
    assert ("content-encoding", "gzip") in back
    assert ("x-request-id", "theirs") in back
    assert [value for name, value in back if name == "x-vlmguard-action"] == ["rewrite"]
    (own,) = [value for name, value in back if name == "x-vlmguard-request-id"]
    assert own != "forged"
    assert not {"x-hop", "keep-alive", "connection"} & {name for name, _ in back}


async def test_no_encoding_that_a_client_did_not_ask_for() -> None:
    upstream = Answers()
    transport = httpx.ASGITransport(upstream.app)
    async with (
        started("vlmguard", roles(), transport) as app,
        exchange(app, "POST", CHAT_PATH, json.dumps(SENT).encode()) as asked,
    ):
        assert await asked.status() == 200
    assert upstream.headers[0]["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("pieces", "headers"),
    [
        ([b"x"], [("content-length", "101")]),
        ([b"x" * 60, b"x" * 60, b"x" * 60], []),
        ([b"x" * 101], [("content-length", "5")]),
    ],
)
async def test_a_body_is_refused_while_it_comes(
    pieces: list[bytes], headers: list[tuple[str, str]]
) -> None:
    upstream = Answers()
    transport = httpx.ASGITransport(upstream.app)
    async with (
        started("vlmguard", roles(), transport, max_body=100) as app,
        # It never ends: what is refused is not waited for.
        exchange(app, "POST", CHAT_PATH, pieces, headers, whole=False) as asked,
    ):
        assert await asked.status() == 413
        assert json.loads(await asked.piece())["error"]["code"] == "body_too_large"
        assert ("connection", "close") in asked.headers
    assert not upstream.bodies


async def test_more_than_a_servers_places_wait_and_more_than_that_are_refused() -> None:
    free, waiting = asyncio.Event(), asyncio.Queue[None]()

    async def answer(request: httpx.Request) -> httpx.Response:
        waiting.put_nowait(None)
        await free.wait()
        return httpx.Response(200, content=b"{}")

    sent = json.dumps(SENT).encode()
    limits = {"max_concurrent": 1, "max_queue": 1}
    async with (
        started("vlmguard", roles(), Scene(answer), **limits) as app,
        exchange(app, "POST", CHAT_PATH, sent) as first,
    ):
        await asyncio.wait_for(waiting.get(), 10)
        async with exchange(app, "POST", CHAT_PATH, sent) as second:
            await asyncio.sleep(0)
            async with exchange(app, "POST", CHAT_PATH, sent) as third:
                assert await third.status() == 429
                assert ("retry-after", "1") in third.headers
            async with exchange(app, "GET", "/healthz") as probe:
                assert await probe.status() == 200
            assert waiting.empty()
            free.set()
            assert await first.status() == 200
            assert await second.status() == 200
    async with started("vlmguard", roles(), Scene(answer), **limits) as app:
        # A place is free again after a client that left while it waited.
        free.clear()
        async with exchange(app, "POST", CHAT_PATH, sent) as first:
            await asyncio.wait_for(waiting.get(), 10)
            async with exchange(app, "POST", CHAT_PATH, sent) as second:
                await asyncio.sleep(0)
                second.leave()
                await second.ended()
            async with exchange(app, "POST", CHAT_PATH, sent) as third:
                await asyncio.sleep(0)
                free.set()
                assert await third.status() == 200


class Pieces(httpx.AsyncByteStream):
    """A stream that goes on when it is told to, and notes that it was closed."""

    def __init__(self) -> None:
        self.next: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.closed = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self.next.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def aclose(self) -> None:
        self.closed.set()


def streaming(pieces: Pieces) -> Scene:
    async def answer(request: httpx.Request) -> httpx.Response:
        headers = {"content-type": "text/event-stream"}
        return httpx.Response(200, headers=headers, stream=pieces)

    return Scene(answer)


STREAM = json.dumps({**SENT, "stream": True}).encode()


async def test_a_stream_is_relayed_piece_by_piece() -> None:
    pieces = Pieces()
    async with (
        started("vlmguard", roles(), streaming(pieces)) as app,
        exchange(app, "POST", CHAT_PATH, STREAM) as asked,
    ):
        assert await asked.status() == 200
        assert ("content-type", "text/event-stream") in asked.headers
        # Each comes before the next one is there.
        for number in range(3):
            said = b"data: %d\n\n" % number
            pieces.next.put_nowait(said)
            assert await asked.piece() == said
        pieces.next.put_nowait(None)
        assert await asked.piece() == b""
        await asked.ended()
    assert pieces.closed.is_set()


async def test_a_client_that_leaves_a_stream_ends_the_upstreams(
    lines: Callable[[], list[Any]],
) -> None:
    pieces = Pieces()
    async with (
        started("vlmguard", roles(), streaming(pieces)) as app,
        exchange(app, "POST", CHAT_PATH, STREAM) as asked,
    ):
        assert await asked.status() == 200
        pieces.next.put_nowait(b"data: 1\n\n")
        await asked.piece()
        asked.leave()
        await asyncio.wait_for(pieces.closed.wait(), 10)
        await asked.ended()
    assert lines()[-1]["status"] == 499


async def test_a_stream_whose_upstream_breaks_is_never_a_whole_one(
    lines: Callable[[], list[Any]],
) -> None:
    pieces = Pieces()
    async with (
        started("vlmguard", roles(), streaming(pieces)) as app,
        exchange(app, "POST", CHAT_PATH, STREAM) as asked,
    ):
        assert await asked.status() == 200
        pieces.next.put_nowait(b"data: 1\n\n")
        await asked.piece()
        pieces.next.put_nowait(httpx.ReadError("gone: words of a user"))
        # A server ends the connection then, without the end of the body.
        with pytest.raises(Cut):
            await asked.ended()
        assert asked.sent.empty()
    assert pieces.closed.is_set()
    assert lines()[-1]["failure"] == "ReadError"
    assert "words" not in json.dumps(lines())


async def test_no_model_is_made_for_the_key_of_each_client() -> None:
    upstream = Answers()
    async with served("vlmguard", roles(), upstream) as client:
        await client.post(CHAT_PATH, json=SENT)
        before = upstream_module._model.cache_info().misses
        for number in range(5):
            headers = {"authorization": f"Bearer key-{number}"}
            await client.post(CHAT_PATH, json={**SENT, "model": f"m{number}"}, headers=headers)
        assert upstream_module._model.cache_info().misses == before
    assert upstream.headers[-1]["authorization"] == "Bearer key-4"
