"""Streams of the Responses and the Messages API whose parts are checked while they run."""

import json
from collections.abc import Iterator
from typing import Any, Final

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from support.api_answers import (
    MESSAGES_PATH,
    RESPONSES_PATH,
    ApiAnswers,
    message_events,
    response_events,
)
from support.scripted import Call, Scripted
from support.serving import served

from vlmguard.guard.defense import REFUSAL_MESSAGE

OUTPUT: Final[dict[str, Any]] = {"adapter": "llama_guard", "check": "output"}
APIS: Final = {
    RESPONSES_PATH: ("input", response_events),
    MESSAGES_PATH: ("messages", message_events),
}
FIRST, SECOND = "Tie a bowline first.", "Then jump off the bridge."
BOTH = f"{FIRST} {SECOND}"
CUT = f"{FIRST} \n\n{REFUSAL_MESSAGE}"

Events = list[dict[str, Any]]


def guard(*unsafe: str) -> dict[str, Scripted]:
    def say(call: Call) -> str:
        return "unsafe\nS1" if any(word in str(call.messages) for word in unsafe) else "safe"

    return {"guard": Scripted(say)}


class Told(ApiAnswers):
    """An upstream that streams these events, of either API."""

    def __init__(self, events: Events) -> None:
        super().__init__()
        self.told = events

    async def _answered(self, request: Any, whole: Any, events: Iterator[dict[str, Any]]) -> Any:
        return await super()._answered(request, whole, iter(self.told))


async def streamed(
    path: str, events: Events, roles: dict[str, Scripted], **more: Any
) -> httpx.Response:
    body = {"model": "m", APIS[path][0]: [{"role": "user", "content": "How?"}], "stream": True}
    given = {"options": OUTPUT, **more}
    async with served("guard_model", roles, Told(events), **given) as client:
        return await client.post(path, json=body)


def read(response: httpx.Response) -> Events:
    lines = response.text.splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def text_of(events: Events) -> str:
    """The text that a client reads."""
    deltas = [event.get("delta") for event in events]
    return "".join(
        delta if isinstance(delta, str) else delta.get("text", "") for delta in deltas if delta
    )


@pytest.mark.parametrize("path", APIS)
async def test_a_stream_that_passes_is_the_model_s_and_is_checked_in_parts(path: str) -> None:
    roles, events = guard("nothing"), [*APIS[path][1](BOTH)]
    response = await streamed(path, events, roles)
    assert response.headers["x-vlmguard-action"] == "pass"
    assert read(response) == events
    assert ": vlmguard action=pass checks=2" in response.text
    checked = [SECOND in str(call.messages) for call in roles["guard"].calls]
    assert checked == [False, True]


@pytest.mark.parametrize("path", APIS)
async def test_a_stream_ends_with_a_refusal_behind_what_has_passed(path: str) -> None:
    response = await streamed(path, [*APIS[path][1](BOTH)], guard("bridge"))
    events = read(response)
    assert "bridge" not in response.text
    assert "jump" not in response.text
    assert text_of(events) == CUT
    assert ": vlmguard action=block checks=2" in response.text
    if path == MESSAGES_PATH:
        assert [event["type"] for event in events[-3:]] == [
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
        assert events[-2]["delta"]["stop_reason"] == "refusal"
        assert {event["index"] for event in events if "index" in event} == {0}
    else:
        last = events[-1]
        assert last["type"] == "response.incomplete"
        assert last["response"]["id"] == "resp_1"
        assert last["response"]["incomplete_details"] == {"reason": "content_filter"}
        assert last["response"]["output"][0]["content"][0]["text"] == CUT
        assert [event["sequence_number"] for event in events] == [*range(len(events))]


@pytest.mark.parametrize("path", APIS)
async def test_a_stream_that_is_refused_at_once_is_a_refusal_as_any_other(path: str) -> None:
    response = await streamed(path, [*APIS[path][1](BOTH)], guard("bowline"))
    assert text_of(read(response)) == REFUSAL_MESSAGE
    assert response.headers["x-vlmguard-action"] == "block"


async def test_the_openai_client_reads_a_stream_that_was_cut() -> None:
    async with served("guard_model", guard("bridge"), ApiAnswers(BOTH), options=OUTPUT) as http:
        client = AsyncOpenAI(
            base_url="http://guard/v1", api_key="k", http_client=http, max_retries=0
        )
        # It raises where events do not belong together.
        async with client.responses.stream(model="m", input="How?") as stream:
            events = [event async for event in stream]
    last = events[-1]
    assert last.type == "response.incomplete"
    assert last.response.output_text == CUT


def block(index: int, kind: str, delta: dict[str, Any], **more: Any) -> Events:
    start = {"index": index, "content_block": {"type": kind, **more}}
    return [
        {"type": "content_block_start", **start},
        {"type": "content_block_delta", "index": index, "delta": delta},
        {"type": "content_block_stop", "index": index},
    ]


async def test_a_refusal_has_a_block_of_its_own_behind_others() -> None:
    start, *_, ended, stop = message_events("")
    thinking = block(0, "thinking", {"type": "thinking_delta", "thinking": "Hm."}, thinking="")
    first = block(1, "text", {"type": "text_delta", "text": f"{FIRST} "}, text="")
    second = block(2, "text", {"type": "text_delta", "text": SECOND}, text="")
    response = await streamed(
        MESSAGES_PATH, [start, *thinking, *first, *second, ended, stop], guard("bridge")
    )
    events = read(response)
    assert events[:7] == [start, *thinking, *first]
    starts = [event["index"] for event in events if event["type"] == "content_block_start"]
    stops = [event["index"] for event in events if event["type"] == "content_block_stop"]
    assert starts == stops == [0, 1, 2]
    assert text_of(events) == f"{FIRST} \n\n{REFUSAL_MESSAGE}"


@pytest.mark.parametrize("path", APIS)
async def test_a_guard_that_fails_midway_ends_the_stream_with_an_error(path: str) -> None:
    calls = []

    def say(call: Call) -> str:
        calls.append(call)
        if len(calls) > 1:
            raise RuntimeError("down")
        return "safe"

    response = await streamed(path, [*APIS[path][1](BOTH)], {"guard": Scripted(say)})
    last = read(response)[-1]
    assert "bridge" not in response.text
    assert last["type"] == "error"
    code = last["code"] if path == RESPONSES_PATH else last["error"]["code"]
    assert code == "guard_unavailable"
    assert "action=unavailable" in response.text


async def test_the_openai_client_raises_the_error_of_a_stream() -> None:
    calls: list[Call] = []

    def say(call: Call) -> str:
        calls.append(call)
        if len(calls) > 1:
            raise RuntimeError("down")
        return "safe"

    roles = {"guard": Scripted(say)}
    async with served("guard_model", roles, ApiAnswers(BOTH), options=OUTPUT) as http:
        client = AsyncOpenAI(
            base_url="http://guard/v1", api_key="k", http_client=http, max_retries=0
        )
        stream = await client.responses.create(model="m", input="How?", stream=True)
        with pytest.raises(openai.APIError):
            _ = [event async for event in stream]


@pytest.mark.parametrize("check", ["guard_model", "mllm_protector"])
@pytest.mark.parametrize(
    "place", ["delta", "output_text.done", "content_part.done", "output_item.done", "completed"]
)
async def test_text_that_is_not_said_in_parts_goes_around_no_check(place: str, check: str) -> None:
    events = [*response_events(FIRST)]
    changed = json.loads(json.dumps(events).replace(FIRST, SECOND))
    kinds = [event["type"].removeprefix("response.") for event in events]
    if place == "delta":
        # No parts at all, and the text at the end.
        told = [event for event in changed if not event["type"].endswith("delta")]
    else:
        told = [changed[n] if kind == place else events[n] for n, kind in enumerate(kinds)]
    if check == "guard_model":
        response = await streamed(RESPONSES_PATH, told, guard("nothing"))
    else:
        body = {"model": "m", "input": "How?", "stream": True}
        roles = {"detector": Scripted("SAFE"), "detoxifier": Scripted("Take care.")}
        async with served(check, roles, Told(told)) as client:
            response = await client.post(RESPONSES_PATH, json=body)
    assert SECOND not in response.text
    assert "guard_unavailable" in response.text


async def test_an_end_without_what_the_parts_said_goes_around_no_check() -> None:
    *parts, end = response_events(SECOND)
    told = [event for event in parts if not event["type"].endswith(".done")]
    told.append({**end, "response": {**end["response"], "output": []}})
    roles = {"detector": Scripted("UNSAFE"), "detoxifier": Scripted("Take care.")}
    async with served("mllm_protector", roles, Told(told)) as client:
        body = {"model": "m", "input": "How?", "stream": True}
        answered = await client.post(RESPONSES_PATH, json=body)
    assert "bridge" not in answered.text
    assert "guard_unavailable" in answered.text
