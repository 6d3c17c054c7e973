"""Streams whose parts are checked: what leaves when, what never leaves, and how they end."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.asgi import Exchange, exchange
from support.scripted import Call, Scripted
from support.serving import CHAT_PATH, started

from vlmguard.guard.defense import REFUSAL_MESSAGE
from vlmguard.guard.serving.front import Cut
from vlmguard.guard.serving.sse import Splitter
from vlmguard.guard.serving.streaming import is_pause

OUTPUT: dict[str, Any] = {"adapter": "llama_guard", "check": "output"}
DONE = b"data: [DONE]\n\n"
FIRST, SECOND = "Tie a bowline first. ", "Then check the rope. "


def chunk(finish: str | None = None, **delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps({'id': 'c-7', 'model': 'm-7', 'choices': [choice]})}\n\n".encode()


def usage() -> bytes:
    return f"data: {json.dumps({'id': 'c-7', 'choices': [], 'usage': {'cost': 0.1}})}\n\n".encode()


def texts(stream: bytes) -> str:
    """The text that a client reads."""
    lines = [line for line in stream.decode().splitlines() if line.startswith("data: {")]
    deltas = [each["delta"] for line in lines for each in json.loads(line[6:])["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


def guard(*unsafe: str) -> Scripted:
    def say(call: Call) -> str:
        return "unsafe\nS1" if any(word in str(call.messages) for word in unsafe) else "safe"

    return Scripted(say)


class Pieces(httpx.AsyncBaseTransport):
    """A model that streams what a test puts there, when it puts it."""

    def __init__(self, *pieces: bytes, ends: bool = True, status: int = 200) -> None:
        self.queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        for piece in [*pieces, *([None] if ends else [])]:
            self.queue.put_nowait(piece)
        self.status, self.closed, self.asked = status, False, b""
        self.kind = "text/event-stream; charset=utf-8"

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked = request.content
        headers = {"content-type": self.kind, "x-request-id": "up-1"}
        return httpx.Response(self.status, headers=headers, stream=Body(self))


class Body(httpx.AsyncByteStream):
    def __init__(self, model: Pieces) -> None:
        self.model = model

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self.model.queue.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def aclose(self) -> None:
        self.model.closed = True


@asynccontextmanager
async def asked(model: Pieces, checks: Scripted, **settings: Any) -> AsyncIterator[Exchange]:
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "How?"}]}
    async with AsyncExitStack() as stack:
        given = {"options": OUTPUT, **settings}
        app = await stack.enter_async_context(
            started("guard_model", {"guard": checks}, model, **given)
        )
        headers = [("content-type", "application/json")]
        sent = json.dumps(body).encode()
        yield await stack.enter_async_context(exchange(app, "POST", CHAT_PATH, sent, headers))


async def whole(
    model: Pieces, checks: Scripted, **settings: Any
) -> tuple[int, dict[str, str], bytes]:
    async with asked(model, checks, **settings) as client:
        await client.ended()
        status, found = await client.status(), b""
        while not client.sent.empty():
            found += client.sent.get_nowait().get("body", b"")
        return status, dict(client.headers), found


async def test_what_passed_leaves_before_the_rest_has_come() -> None:
    model, checks = Pieces(chunk(role="assistant"), chunk(content=FIRST), ends=False), guard()
    async with asked(model, checks) as client:
        assert await client.status() == 200
        first = await client.piece()
        assert first == chunk(role="assistant") + chunk(content=FIRST)
        model.queue.put_nowait(chunk(content="Then"))
        model.queue.put_nowait(chunk(content=" check the rope"))
        await asyncio.sleep(0.05)
        assert client.sent.empty()
        model.queue.put_nowait(chunk(content=". "))
        second = await client.piece()
        assert texts(second) == SECOND
        for piece in (chunk("stop"), usage(), DONE, None):
            model.queue.put_nowait(piece)
        rest = b"".join([await client.piece() for _ in range(3)])
        await client.ended()
    assert rest == chunk("stop") + usage() + b": vlmguard action=pass checks=2\n\n" + DONE
    assert [SECOND.strip() in str(call.messages) for call in checks.calls] == [False, True]
    assert all("Tie a bowline" in str(call.messages) for call in checks.calls)


async def test_all_bytes_of_a_stream_that_passes_are_the_models() -> None:
    pieces = [
        b": hello\n\n", chunk(role="assistant"), chunk(reasoning="Hm."), chunk(content=FIRST),
        chunk(content="No end"), chunk(tool_calls=[{"index": 0}]), chunk("tool_calls"), usage(),
    ]  # fmt: skip
    sent = b"".join(pieces)
    # However the network cuts it.
    for size in (7, 64, len(sent)):
        cut = [(sent + DONE)[at : at + size] for at in range(0, len(sent + DONE), size)]
        status, headers, found = await whole(Pieces(*cut), guard())
        assert (status, headers["x-request-id"]) == (200, "up-1")
        assert headers["x-vlmguard-action"] == "pass"
        assert found == sent + b": vlmguard action=pass checks=2\n\n" + DONE


async def test_an_unsafe_part_ends_the_stream_and_nothing_of_it_leaves() -> None:
    model = Pieces(
        chunk(content=FIRST), chunk(content="Now cut"), chunk(content=" the RED rope. "),
        ends=False,
    )  # fmt: skip
    status, _, found = await whole(model, guard("RED"))
    assert status == 200
    assert found.startswith(chunk(content=FIRST))
    assert texts(found) == f"{FIRST}\n\n{REFUSAL_MESSAGE}"
    events = found.decode().split("\n\n")
    assert events[-3:] == [": vlmguard action=block checks=2", "data: [DONE]", ""]
    last = json.loads(events[-4].removeprefix("data: "))
    assert last["choices"][0]["finish_reason"] == "content_filter"
    assert (last["id"], last["model"]) == ("c-7", "m-7")
    assert model.closed


async def test_an_answer_that_is_unsafe_at_once_is_a_refusal_as_any_other() -> None:
    for block_status in (200, 400):
        model = Pieces(chunk(role="assistant"), chunk(content="Now cut the RED rope. "), ends=False)
        status, headers, found = await whole(model, guard("RED"), block_status=block_status)
        assert status == block_status
        assert headers["x-vlmguard-action"] == "block"
        assert b"RED" not in found
        assert model.closed


async def test_text_without_ends_of_sentences_leaves_by_the_count_of_characters() -> None:
    model, checks = Pieces(chunk(content="word " * 39), ends=False), guard()
    async with asked(model, checks) as client:
        model.queue.put_nowait(chunk(content="word word"))
        assert await client.status() == 200
        assert len(texts(await client.piece())) == 39 * 5 + 9
    assert len(checks.calls) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tie the rope to the tree. ", True),
        ("Tie the rope to the tree.", False),  # 3.14, example.org
        ("Pull with 3.14 kN at most", False),
        ("Yes. ", False),
        ("Yes. But tie it well first! ", True),
        ("先把绳子系在树上然后再检查一遍绳结是否牢固。", True),
        ("先把绳子系在树上。", False),
        ("पहले रस्सी को पेड़ से बाँधें। ", True),
        ("اربط الحبل بالشجرة أولاً؟ ", True),
        ("Tie the rope to the tree\n", True),
        ('He said "tie the rope now." ', True),
        ("a" * 199, False),
        ("a" * 200, True),
    ],
)
def test_where_a_text_is_checked(text: str, expected: bool) -> None:
    assert is_pause(text, 0) is expected
    assert is_pause("x" * 50 + text, 50) is expected


@given(st.lists(st.text(". a\n。", max_size=30), max_size=60))
def test_checks_are_bounded_whatever_the_text_is(pieces: list[str]) -> None:
    text, checked, count = "", 0, 0
    for piece in pieces:
        text += piece
        if is_pause(text, checked):
            count, checked = count + 1, len(text)
    assert count <= len(text) / 20


@given(st.lists(st.sampled_from([b"data: 1", b": c", b"\n\n", b"\r\n\r\n", b"\n", b"x"])))
def test_events_are_cut_without_losing_a_byte(pieces: list[bytes]) -> None:
    splitter, found = Splitter(), b""
    for piece in pieces:
        events = splitter.feed(piece)
        assert all(event.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")) for event in events)
        found += b"".join(events)
    assert found + splitter.rest == b"".join(pieces)


@pytest.mark.parametrize("rule", ["refuse", "original"])
@pytest.mark.parametrize("fault", ["raises", "mumbles", "foreign"])
async def test_a_guard_that_fails_midway_follows_the_rule(fault: str, rule: str) -> None:
    said: list[Any] = ["safe", ConnectionError("down") if fault == "raises" else "Nice weather."]
    checks = Scripted(lambda call: said.pop(0) if len(said) > 1 else said[0])
    second = b"data: [1]\n\n" if fault == "foreign" else chunk(content=SECOND)
    model = Pieces(chunk(content=FIRST), second, chunk(content="Go. "), chunk("stop"), DONE)
    status, _, found = await whole(model, checks, on_failure=rule)
    assert status == 200
    assert found.startswith(chunk(content=FIRST))
    if rule == "refuse":
        assert b"Then" not in found
        assert b"Go" not in found
        assert b'"code": "guard_unavailable"' in found
        assert b"[DONE]" not in found
    else:
        assert found.startswith(chunk(content=FIRST) + second + chunk(content="Go. "))
        assert found.endswith(DONE)
        assert b"action=error-open" in found


async def test_a_guard_that_fails_at_once_is_unavailable() -> None:
    model = Pieces(chunk(content=FIRST), ends=False)
    status, _, found = await whole(model, Scripted(ConnectionError("down")))
    assert (status, json.loads(found)["error"]["code"]) == (503, "guard_unavailable")
    assert model.closed


async def test_a_guard_that_hangs_is_given_up() -> None:
    async def hang(*_: Any) -> Any:
        await asyncio.sleep(60)

    checks = Scripted("safe")
    checks.reply = hang  # type: ignore[method-assign]
    model = Pieces(chunk(content=FIRST), ends=False)
    status, _, _ = await whole(model, checks, guard_timeout=0.1)
    assert status == 503


async def test_a_client_that_leaves_ends_the_check_and_the_model() -> None:
    stopped = asyncio.Event()
    began = asyncio.Event()

    async def hang(*_: Any) -> Any:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()

    checks = Scripted("safe")
    checks.reply = hang  # type: ignore[method-assign]
    model = Pieces(chunk(reasoning="Hm"), chunk(content=FIRST), ends=False)
    async with asked(model, checks) as client:
        assert await client.status() == 200
        await asyncio.wait_for(began.wait(), 5)
        client.leave()
        await client.ended()
        await asyncio.wait_for(stopped.wait(), 5)
    assert model.closed


async def test_a_model_that_breaks_off_leaves_nothing_unchecked() -> None:
    model = Pieces(chunk(content=FIRST), chunk(content="Now cut"), ends=False)
    model.queue.put_nowait(httpx.ReadError("reset"))
    async with asked(model, guard("cut")) as client:
        assert await client.status() == 200
        assert texts(await client.piece()) == FIRST
        with pytest.raises(Cut):
            await client.ended()
    model = Pieces(chunk(content="Now cut"), ends=False)
    model.queue.put_nowait(httpx.ReadError("reset"))
    status, _, found = await whole(model, guard("cut"))
    assert (status, json.loads(found)["error"]["code"]) == (502, "upstream_broken")


async def test_a_stream_without_an_end_is_checked_to_its_last_word() -> None:
    _, _, found = await whole(Pieces(chunk(content="Now cut")), guard("cut"))
    assert b"cut" not in found
    _, _, found = await whole(Pieces(chunk(content="Now tie")), guard("cut"))
    assert found == chunk(content="Now tie") + b": vlmguard action=pass checks=1\n\n"


@pytest.mark.parametrize("cut", [1, 2])
async def test_a_last_event_without_its_empty_line_is_an_event(cut: int) -> None:
    """Our comment behind it would end it, so a client would read it."""
    status, headers, found = await whole(Pieces(chunk(content="Now cut")[:-cut]), guard("cut"))
    assert (status, headers["x-vlmguard-action"]) == (200, "block")
    assert b"cut" not in found
    _, _, found = await whole(Pieces(chunk(content="Now tie"), DONE[:-cut]), guard("cut"))
    assert texts(found) == "Now tie"
    assert b": vlmguard action=pass checks=1\n\ndata: [DONE]\n" in found


@pytest.mark.parametrize("marks", ["<think>{}</think>", "<think>{}", "{}</think> Yes."])
async def test_words_that_a_model_writes_as_thinking_are_read_by_the_client(marks: str) -> None:
    """A user can ask for an answer in such marks."""
    given = chunk(content=marks.format("First cut the rope there."))
    _, headers, found = await whole(Pieces(given, chunk("stop"), DONE), guard("cut"))
    assert headers["x-vlmguard-action"] == "block"
    assert b"cut" not in found
    given = chunk(content=marks.format("First tie the rope there."))
    _, headers, found = await whole(Pieces(given, chunk("stop"), DONE), guard("cut"))
    assert given in found


async def test_errors_and_answers_that_are_no_streams_are_no_streams() -> None:
    error = b'{"error": {"message": "slow down"}}'
    model = Pieces(error, status=429)
    model.kind = "application/json"
    status, _, found = await whole(model, guard())
    assert (status, found) == (429, error)
    choice = {"index": 0, "message": {"role": "assistant", "content": "Cut it."}}
    model = Pieces(json.dumps({"choices": [choice]}).encode())
    model.kind = "application/json"
    status, headers, found = await whole(model, guard("Cut"))
    assert headers["x-vlmguard-action"] == "block"
    assert b"Cut it" not in found
