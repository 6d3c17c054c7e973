"""Answers of a model that are not what its API promises: read, or told apart, and never a 500."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from inspect_ai.model import ModelOutput
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from support.api_answers import message, message_events, response, response_events
from support.scripted import Scripted, picture
from support.serving import served

from vlmguard.guard.defense import refusal
from vlmguard.guard.serving.app import DIALECTS
from vlmguard.guard.serving.dialects.base import Dialect
from vlmguard.guard.serving.dialects.chat import CHAT
from vlmguard.guard.serving.dialects.messages import MESSAGES
from vlmguard.guard.serving.dialects.parts import ReadsParts
from vlmguard.guard.serving.dialects.responses import RESPONSES
from vlmguard.guard.serving.faults import Fault

WRONG: list[Any] = [None, True, 7, -1.5, "", "x", "\ud800", [], {}, [None], [[]], [7], [{}]]
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
WHOLE: dict[Dialect, dict[str, Any]] = {
    CHAT: {"id": "c", "model": "m", "choices": [CHOICE], "usage": USAGE},
    RESPONSES: response("Yes."),
    MESSAGES: message("Yes."),
}
DELTAS = [{"role": "assistant"}, {"content": "Yes."}, {"tool_calls": [{"index": 0, **CALL}]}, {}]
STREAM: dict[Dialect, list[dict[str, Any]]] = {
    CHAT: [
        {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in DELTAS
    ],
    RESPONSES: [*response_events("Yes.")],
    MESSAGES: [*message_events("Yes.")],
}
ASKED: dict[Dialect, dict[str, Any]] = {
    CHAT: {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "a", "content": "7"},
            {"role": "user", "content": [{"type": "text", "text": "How?"}]},
        ],
    },
    RESPONSES: {
        "model": "m",
        "instructions": "Be kind.",
        "input": [
            {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "a", "output": "7"},
            {"role": "assistant", "content": [{"type": "output_text", "text": "Yes."}]},
            {"role": "user", "content": [{"type": "input_text", "text": "How?"}]},
        ],
    },
    MESSAGES: {
        "model": "m",
        "max_tokens": 9,
        "system": [{"type": "text", "text": "Be kind."}],
        "messages": [
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "input": {}}]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "a", "content": "7"},
                    {"type": "text", "text": "How?"},
                ],
            },
        ],
    },
}


def mutated(value: Any, wrong: Sequence[Any] = WRONG) -> Iterator[Any]:
    """The value with each of its inner values replaced by each wrong one, or left out."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield {name: each for name, each in value.items() if name != key}
            for other in [*wrong, *mutated(inner, wrong)]:
                yield {**value, key: other}
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            for other in [*wrong, *mutated(inner, wrong)]:
                yield [*value[:at], other, *value[at + 1 :]]
        yield [*value, *value]


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: each.path)
def test_a_request_of_any_shape_is_read_or_refused(dialect: Dialect) -> None:
    for body in mutated(ASKED[dialect]):
        try:
            asked = dialect.read(json.dumps(body).encode())
        except Fault:
            continue
        # What was read can be written, and is the very body if nothing changed.
        assert dialect.written(asked, asked.messages, None) == asked.body


GATEWAY: dict[str, Any] = {
    "input_type": "request",
    "litellm_version": "1.110.2",
    "litellm_call_id": "call",
    "texts": ["How?"],
    "images": [picture()],
    "structured_messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "How?"},
                {"type": "image_url", "image_url": {"url": picture()}},
            ],
        }
    ],
    "request_headers": {"a": "b"},
}
OTHERS = {
    "/v1/rewrite": {"text": "How?", "images": [picture()], "model": "m"},
    "/beta/litellm_basic_guardrail_api": GATEWAY,
}


@pytest.mark.parametrize("path", OTHERS)
@pytest.mark.parametrize("shadow", [False, True])
async def test_other_endpoints_take_bodies_of_any_shape(path: str, shadow: bool) -> None:
    rewriter = Scripted("<reasoning>x</reasoning><prompt>How do I climb it?</prompt>")
    upstream: Any = Says(b"{}")
    async with served("vlmguard", {"rewriter": rewriter}, upstream, shadow=shadow) as client:
        for body in [*WRONG, *mutated(OTHERS[path], [None, 7, "\ud800", {}, [None]])]:
            answered = await client.post(path, content=json.dumps(body))
            assert answered.status_code in (200, 400, 503), (body, answered.text)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: each.path)
def test_an_answer_of_any_shape_is_read_or_told_apart(dialect: Dialect) -> None:
    for body in mutated(WHOLE[dialect]):
        try:
            output = dialect.output(body)
        except ValueError:
            continue
        assert isinstance(output, ModelOutput)
        assert isinstance(output.completion, str)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: each.path)
def test_a_stream_of_any_shape_is_read_or_told_apart(dialect: Dialect) -> None:
    events = STREAM[dialect]
    for changed in mutated(events):
        try:
            said = dialect.streamed(json.dumps(each) for each in changed)
            output = dialect.output(said)
        except ValueError:
            continue
        assert isinstance(output.completion, str)
    for broken in ("", "{", "[]", "7", "null", '"x"', "NaN"):
        data = [json.dumps(events[0]), broken, *map(json.dumps, events[1:])]
        try:
            dialect.output(dialect.streamed(iter(data)))
        except ValueError:
            continue


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: each.path)
def test_an_event_of_any_shape_is_read_or_told_apart(dialect: Dialect) -> None:
    """And a stream can be ended behind the events that were read."""
    assert isinstance(dialect, ReadsParts)
    asked = dialect.read(json.dumps(ASKED[dialect] | {"stream": True}).encode())
    for changed in mutated(STREAM[dialect]):
        sent = []
        for data in map(json.dumps, changed):
            try:
                assert isinstance(dialect.part(data).text, str)
            except ValueError:
                continue
            sent.append(data)
        for end in (1, len(sent) - 2, len(sent)):
            pieces = [*dialect.cut(asked, refusal("m"), sent[:end])]
            assert all(piece.endswith(b"\n\n") for piece in pieces)


class Says:
    """An upstream that answers any path with these bytes."""

    def __init__(self, content: bytes, kind: str = "application/json", **headers: str) -> None:
        async def answer(request: Request) -> Response:
            await request.body()
            return Response(content, 200, {"content-type": kind, **headers})

        self.app = Starlette(routes=[Route("/{path:path}", answer, methods=["POST"])])


DEEP = b"[" * 100_000 + b"]" * 100_000
BYTES = {
    "deep": DEEP,
    "deep inside": json.dumps(WHOLE[CHAT]).encode().replace(b'"Yes."', DEEP),
    "unended": b'{"choices": [',
    "empty": b"",
    "no UTF-8": b'{"choices": "\xff"}',
    "key twice": b'{"choices": [], "choices": []}',
    "large number": b'{"choices": ' + b"1" * 5_000 + b"}",
    "NaN": b'{"choices": NaN}',
    "page": b"<html>Bad gateway</html>",
}


@pytest.mark.parametrize("name", BYTES)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("options", [{"check": "output"}, {"check": "both"}])
async def test_an_answer_that_cannot_be_read_is_no_error_of_the_server(
    name: str, stream: bool, options: dict[str, Any]
) -> None:
    content = b"data: " + BYTES[name] + b"\n\ndata: [DONE]\n\n" if stream else BYTES[name]
    upstream: Any = Says(content, "text/event-stream" if stream else "application/json")
    given = {"options": {"adapter": "llama_guard", **options}}
    async with served("guard_model", {"guard": Scripted("safe")}, upstream, **given) as client:
        asked = {**ASKED[CHAT], "stream": stream}
        answered = await client.post(CHAT.path, json=asked)
    assert answered.status_code in (200, 502, 503)
    if answered.status_code != 200:
        assert answered.json()["error"]["code"]


@pytest.mark.parametrize("coding", ["gzip", "br", "x"])
async def test_an_answer_in_a_coding_that_it_is_not_in(coding: str) -> None:
    upstream: Any = Says(json.dumps(WHOLE[CHAT]).encode(), **{"content-encoding": coding})
    given = {"options": {"adapter": "llama_guard", "check": "output"}}
    async with served("guard_model", {"guard": Scripted("safe")}, upstream, **given) as client:
        answered = await client.post(CHAT.path, json=ASKED[CHAT])
    assert answered.status_code in (200, 502, 503)
