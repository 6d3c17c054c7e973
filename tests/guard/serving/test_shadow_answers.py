"""Shadow mode of defenses that check answers: a copy is checked, once the answer has left."""

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from support.api_answers import MESSAGES_PATH, RESPONSES_PATH, ApiAnswers
from support.asgi import exchange
from support.openai_server import openai_server
from support.scripted import Call, Scripted, picture
from support.serving import CHAT_PATH, Answers, served, started, would_be

from vlmguard.guard.recordings import read_recordings
from vlmguard.guard.serving.app import make_app
from vlmguard.guard.serving.gateway import GATEWAY_PATH
from vlmguard.guard.serving.heard import LONGEST
from vlmguard.guard.serving.logs import LOGGER
from vlmguard.guard.serving.settings import Settings
from vlmguard.guard.serving.upstream import Upstream

OUTPUT: Final[dict[str, Any]] = {"adapter": "llama_guard", "check": "output"}
BOTH: Final[dict[str, Any]] = {"adapter": "llama_guard", "check": "both"}
AGAIN: Final[dict[str, Any]] = {**OUTPUT, "on_flag": "regenerate"}
PARTS: Final = {CHAT_PATH: "messages", RESPONSES_PATH: "input", MESSAGES_PATH: "messages"}


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER.name)


def judge(*unsafe: str) -> Scripted:
    def say(call: Call) -> str:
        return "unsafe\nS1" if any(word in str(call.messages) for word in unsafe) else "safe"

    return Scripted(say)


def held(guard: Scripted) -> tuple[asyncio.Event, asyncio.Event]:
    """Lets a guard's model wait; returns what is set when it is asked, and what lets it go."""
    asked, free, say = asyncio.Event(), asyncio.Event(), guard.reply

    async def wait(*given: Any) -> Any:
        asked.set()
        await free.wait()
        return say(*given)

    guard.reply = wait  # type: ignore[method-assign,assignment]
    return asked, free


def asking(path: str = CHAT_PATH, **more: Any) -> bytes:
    turns = [{"role": "user", "content": "How?"}]
    return json.dumps({"model": "m", PARTS[path]: turns, **more}).encode()


def chat(message: Mapping[str, Any]) -> bytes:
    return json.dumps({"choices": [{"index": 0, "message": message}]}).encode()


class Sent(httpx.AsyncBaseTransport):
    """An upstream that sends these pieces, each when it may; an error in their place is raised."""

    def __init__(self, *pieces: bytes | Exception, status: int = 200, **headers: str) -> None:
        self.pieces, self.status = pieces, status
        self.headers = {"content-type": "application/json"} | headers
        self.may = [asyncio.Event() for _ in pieces]
        self.bodies: list[bytes] = []

    def go(self) -> "Sent":
        for event in self.may:
            event.set()
        return self

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(await request.aread())
        return httpx.Response(self.status, headers=self.headers, stream=_Pieces(self))


class _Pieces(httpx.AsyncByteStream):
    def __init__(self, sent: Sent) -> None:
        self._sent = sent

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece, may in zip(self._sent.pieces, self._sent.may, strict=True):
            await may.wait()
            if isinstance(piece, Exception):
                raise piece
            yield piece


async def shadowed(
    upstream: Sent, guard: Scripted, body: bytes = asking(), **settings: Any
) -> tuple[int, bytes]:
    """What the client gets of a server that has ended since."""
    given = {"options": OUTPUT, **settings, "shadow": True}
    async with started("guard_model", {"guard": guard}, upstream, **given) as app:
        inside = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            httpx.AsyncClient(transport=inside, base_url="http://guard") as client,
            client.stream("POST", CHAT_PATH, content=body) as answered,
        ):
            came = b"".join([piece async for piece in answered.aiter_raw()])
    assert answered.headers["x-vlmguard-action"] == "shadow"
    return answered.status_code, came


@pytest.mark.parametrize("path", PARTS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("unsafe", "would"), [("Climb", "pass"), ("Jump", "block")])
async def test_an_answer_is_relayed_and_what_would_become_of_it_is_counted(
    path: str, stream: bool, unsafe: str, would: str, caplog: pytest.LogCaptureFixture
) -> None:
    upstream, guard = ApiAnswers("Jump from the bridge."), judge(unsafe)
    settings: dict[str, Any] = {"options": OUTPUT, "on_failure": "refuse"}
    sent = asking(path, stream=stream)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(upstream.app), base_url="http://upstream"
    ) as client:
        undefended = await client.post(path, content=sent)
    async with served("guard_model", {"guard": guard}, upstream, shadow=True, **settings) as client:
        answered = await client.post(path, content=sent)
    assert (answered.status_code, answered.content) == (200, undefended.content)
    assert upstream.bodies[-1] == sent
    assert would_be(caplog) == [would]
    assert len(guard.calls) == 1


@pytest.mark.parametrize(
    ("defense", "options", "roles", "would", "asked"),
    [
        ("guard_model", AGAIN, {"guard": judge("Jump")}, "block", 2),
        (
            "mllm_protector",
            {},
            {"detector": Scripted("UNSAFE"), "detoxifier": Scripted("Take care.")},
            "regenerate",
            1,
        ),
        ("guard_model", OUTPUT, {"guard": Scripted(RuntimeError("down"))}, "unavailable", 1),
        ("guard_model", OUTPUT, {"guard": Scripted("no verdict")}, "unavailable", 1),
        # Decided about the request alone: its answer is one to another request.
        ("guard_model", BOTH, {"guard": judge("How")}, "block", 1),
        ("smooth", {}, {}, "rewrite", 1),
    ],
)
async def test_one_thing_would_have_happened_to_a_request(
    defense: str,
    options: dict[str, Any],
    roles: dict[str, Scripted],
    would: str,
    asked: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    upstream = Answers("Jump.")
    parts = [
        {"type": "text", "text": "How?"},
        {"type": "image_url", "image_url": {"url": picture()}},
    ]
    sent = json.dumps({"model": "m", "messages": [{"role": "user", "content": parts}]}).encode()
    settings: dict[str, Any] = {"options": options, "on_failure": "refuse", "shadow": True}
    async with served(defense, roles, upstream, **settings) as client:
        answered = await client.post(CHAT_PATH, content=sent)
    assert answered.json()["choices"][0]["message"]["content"] == "Jump."
    assert would_be(caplog) == [would]
    assert upstream.bodies[0] == sent
    assert len(upstream.bodies) == asked
    if options is BOTH:
        assert len(roles["guard"].calls) == 1


async def test_another_answer_is_asked_for_behind_the_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Better(Answers):
        @property
        def text(self) -> str:
            return "Jump." if len(self.bodies) < 2 else "Take the stairs."

        @text.setter
        def text(self, text: str) -> None:
            pass

    upstream = Better()
    settings: dict[str, Any] = {"options": AGAIN, "shadow": True}
    async with served("guard_model", {"guard": judge("Jump")}, upstream, **settings) as client:
        answered = await client.post(CHAT_PATH, content=asking())
    assert "Jump." in answered.text
    assert would_be(caplog) == ["regenerate"]
    # This one is read here, and not by the client.
    encodings = [headers["accept-encoding"] for headers in upstream.headers]
    assert encodings == [client.headers["accept-encoding"], "identity"]


async def test_a_defense_asks_the_model_itself_behind_the_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def say(text: str, messages: list[dict[str, Any]]) -> str:
        return "yes" if "yes or no only" in text else "Jump."

    with openai_server(say) as model:
        app = make_app(Settings("ecso", upstream=Upstream(model.url), shadow=True))
        inside = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=inside, base_url="http://guard") as client,
        ):
            answered = await client.post(CHAT_PATH, content=asking())
    assert "Jump." in answered.text
    assert would_be(caplog) == ["regenerate"]
    first, *further = model.requests
    assert first == json.loads(asking())
    # Its check of the answer, and the answer that it would have given.
    assert len(further) == 2


@pytest.mark.parametrize(
    ("upstream", "body", "would"),
    [
        (Sent(b"{}", status=429), asking(), "pass"),
        (Sent(b'{"choices": 1}'), asking(), "unreadable_answer"),
        (Sent(chat({"content": "x" * LONGEST})), asking(), "answer_too_large"),
        (Sent(b'{"choices"', httpx.ReadError("gone")), asking(), "unfinished_answer"),
        (Sent(chat({"content": "Jump."})), asking(n=2), "several_answers"),
        (
            Sent(chat({"content": "", "tool_calls": [{"id": "1", "function": {"name": "f"}}]})),
            asking(),
            "skipped",
        ),
    ],
    ids=["error", "unreadable", "long", "broken", "n", "tools"],
)
async def test_what_cannot_be_checked_is_counted_as_that(
    upstream: Sent, body: bytes, would: str, caplog: pytest.LogCaptureFixture
) -> None:
    guard = judge("Jump")
    status, came = await shadowed(upstream.go(), guard, body)
    assert status == upstream.status
    assert came == b"".join(piece for piece in upstream.pieces if isinstance(piece, bytes))
    assert upstream.bodies == [body]
    assert would_be(caplog) == [would]
    assert guard.calls == []


async def test_a_packed_answer_is_read(caplog: pytest.LogCaptureFixture) -> None:
    packed = gzip.compress(chat({"content": "Jump."}))
    encoding = {"content-encoding": "gzip"}
    await shadowed(Sent(packed, **encoding).go(), judge("Jump"))
    await shadowed(Sent(b"\x1f\x8b broken", **encoding).go(), judge("Jump"))
    assert would_be(caplog) == ["block", "upstream_broken"]


async def test_nothing_waits_for_the_guard_and_a_client_may_leave(
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = chat({"content": "Jump."})
    upstream, guard = Sent(whole[:9], whole[9:]), judge("Jump")
    asked, free = held(guard)
    settings: dict[str, Any] = {"options": OUTPUT, "shadow": True}
    async with started("guard_model", {"guard": guard}, upstream, **settings) as app:
        async with exchange(app, "POST", CHAT_PATH, asking()) as client:
            upstream.may[0].set()
            assert await client.status() == 200
            # The model has not said the rest yet.
            assert await client.piece() == whole[:9]
            upstream.may[1].set()
            assert await client.piece() == whole[9:]
            assert await client.piece() == b""
            await client.ended()
        await asyncio.wait_for(asked.wait(), 10)
        assert would_be(caplog) == []
        upstream.may[1].clear()
        async with exchange(app, "POST", CHAT_PATH, asking()) as client:
            await client.status()
            assert await client.piece() == whole[:9]
            client.leave()
            await client.ended()
        free.set()
    assert sorted(would_be(caplog)) == ["block", "unfinished_answer"]


@pytest.mark.parametrize("declined", [False, True])
async def test_the_record_has_the_decision_about_the_request(
    tmp_path: Path, declined: bool, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "kept"
    settings: dict[str, Any] = {"options": OUTPUT, "shadow": True, "record": folder}
    headers = {"x-vlmguard-no-record": "1"} if declined else {}
    async with served("guard_model", {"guard": judge("Jump")}, Answers("Jump."), **settings) as c:
        await c.post(CHAT_PATH, content=asking(), headers=headers)
    assert would_be(caplog) == ["block"]
    if declined:
        assert [*folder.glob("*.jsonl")] == []
    else:
        (kept,) = read_recordings(folder).requests
        assert (kept.decision.action, kept.answer) == ("pass", "Jump.")


def shown(kind: str, call: str, text: str = "How?", **more: Any) -> dict[str, Any]:
    """What a gateway sends."""
    rows = [{"role": "user", "content": text}] if kind == "request" else None
    named = {"input_type": kind, "litellm_call_id": call, "litellm_version": "1.110.2"}
    return {**named, "texts": [text], "structured_messages": rows, "model": "m", **more}


async def test_a_gateways_answers_are_counted_too(caplog: pytest.LogCaptureFixture) -> None:
    link = [{"type": "image_url", "image_url": {"url": "https://h.test/x.png"}}]
    linked = {"structured_messages": [{"role": "user", "content": link}]}
    settings: dict[str, Any] = {"options": BOTH, "on_failure": "refuse", "shadow": True}
    guard = judge("Jump", "bomb")
    expected = [
        ([shown("request", "1"), shown("response", "1", "Climb.")], ["pass", "pass"]),
        ([shown("request", "2"), shown("response", "2", "Jump.")], ["pass", "block"]),
        # Each answers another request than the model would have got.
        ([shown("request", "3", "A bomb?"), shown("response", "3", "Jump.")], ["block"]),
        ([shown("request", "4", **linked), shown("response", "4", "Jump.")], ["remote_image"]),
        ([shown("response", "5", "Jump.")], ["unknown_call"]),
        (
            [shown("request", "6"), shown("response", "6", texts=["", ""])],
            ["pass", "several_answers"],
        ),
        ([shown("request", "7"), shown("response", "7", tool_calls=[{"id": "1"}])], ["pass"]),
    ]
    for rows, would in expected:
        caplog.clear()
        async with served("guard_model", {"guard": guard}, Answers(), **settings) as client:
            for row in rows:
                answered = await client.post(GATEWAY_PATH, json=row)
                assert answered.json() == {"action": "NONE"}
                assert answered.headers["x-vlmguard-action"] == "shadow"
        assert would_be(caplog) == would


async def test_a_gateways_answer_waits_for_the_decision_about_its_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    guard = judge("Jump")
    asked, free = held(guard)
    settings: dict[str, Any] = {"options": BOTH, "shadow": True}
    async with served("guard_model", {"guard": guard}, Answers(), **settings) as client:
        await client.post(GATEWAY_PATH, json=shown("request", "1"))
        await client.post(GATEWAY_PATH, json=shown("response", "1", "Jump."))
        await asyncio.wait_for(asked.wait(), 10)
        await asyncio.sleep(0.05)
        assert would_be(caplog) == []
        free.set()
    assert would_be(caplog) == ["pass", "block"]
