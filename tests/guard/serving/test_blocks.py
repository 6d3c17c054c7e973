"""A blocked request: a completion that refuses, whole or streamed, or an error."""

import json
from typing import Any

import pytest
from support.scripted import Scripted
from support.serving import CHAT_PATH, Answers, served

from vlmguard.guard.defense.refusal import REFUSAL_MESSAGE

OPTIONS = {"adapter": "llama_guard"}


async def blocked(settings: dict[str, Any] | None = None, **more: Any) -> Any:
    upstream, guard = Answers(), {"guard": Scripted("unsafe\nS1")}
    asked = {"model": "m", "messages": [{"role": "user", "content": "How?"}], **more}
    async with served(
        "guard_model", guard, upstream, options=OPTIONS, **(settings or {})
    ) as client:
        answered = await client.post(CHAT_PATH, json=asked)
    assert not upstream.bodies
    assert answered.headers["x-vlmguard-action"] == "block"
    assert answered.headers["x-vlmguard-version"]
    return answered


def chunks(answered: Any) -> list[Any]:
    assert answered.headers["content-type"].startswith("text/event-stream")
    *events, last, end = answered.text.split("\n\n")
    assert (last, end) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events]


async def test_a_stream_is_refused_in_a_chunk_and_its_end() -> None:
    first, last = chunks(await blocked(stream=True))
    assert first["object"] == "chat.completion.chunk"
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": REFUSAL_MESSAGE}
    assert first["choices"][0]["finish_reason"] is None
    assert last["choices"][0] == {
        "index": 0,
        "delta": {},
        "logprobs": None,
        "finish_reason": "content_filter",
    }
    assert first["id"] == last["id"]
    assert "usage" not in first


async def test_usage_that_was_asked_for_stands_in_a_chunk_of_its_own() -> None:
    *others, last = chunks(await blocked(stream=True, stream_options={"include_usage": True}))
    assert [chunk["usage"] for chunk in others] == [None, None]
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 0


@pytest.mark.parametrize(
    ("asked", "count"), [(3, 3), (0, 1), (-1, 1), (True, 1), ("3", 1), (10**9, 128)]
)
async def test_as_many_refusals_as_answers_were_asked_for(asked: Any, count: int) -> None:
    whole = (await blocked(n=asked)).json()["choices"]
    assert [choice["index"] for choice in whole] == list(range(count))
    assert {choice["message"]["content"] for choice in whole} == {REFUSAL_MESSAGE}
    streamed = chunks(await blocked(n=asked, stream=True))
    assert len(streamed) == 2 * count
    assert {chunk["choices"][0]["index"] for chunk in streamed} == set(range(count))


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_in_its_place(stream: bool) -> None:
    answered = await blocked({"block_status": 400}, stream=stream)
    assert answered.status_code == 400
    assert answered.json()["error"] == {
        "message": "The guard refused this request.",
        "type": "invalid_request_error",
        "param": None,
        "code": "content_filter",
    }
