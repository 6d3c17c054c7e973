"""Answers of the Responses and the Messages API behind defenses that check them."""

import json
from typing import Any, Final

import pytest
from support.api_answers import (
    MESSAGES_PATH,
    RESPONSES_PATH,
    ApiAnswers,
    message,
    message_events,
    response,
    response_events,
)
from support.scripted import Scripted
from support.serving import served

from vlmguard.guard.defense import REFUSAL_MESSAGE

OUTPUT: Final[dict[str, Any]] = {"adapter": "llama_guard", "check": "output"}
APIS: Final = {
    RESPONSES_PATH: ("input", response, response_events),
    MESSAGES_PATH: ("messages", message, message_events),
}
PROTECTED: Final = {"detector": Scripted("UNSAFE"), "detoxifier": Scripted("Take care.")}


def asking(path: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", APIS[path][0]: [{"role": "user", "content": "How?"}], **more}


def said(path: str, body: dict[str, Any]) -> list[str]:
    """The texts of an answer."""
    parts = body["content"] if path == MESSAGES_PATH else body["output"][0]["content"]
    return [part["text"] for part in parts]


def events(text: str) -> list[dict[str, Any]]:
    return [
        json.loads(line.removeprefix("data: "))
        for line in text.splitlines()
        if line.startswith("data: ")
    ]


@pytest.mark.parametrize("path", APIS)
async def test_an_answer_that_is_kept_comes_as_the_model_sent_it(path: str) -> None:
    upstream, roles = ApiAnswers("Climb it."), {"guard": Scripted("safe")}
    async with served("guard_model", roles, upstream, options=OUTPUT) as client:
        whole = await client.post(path, json=asking(path))
        streamed = await client.post(path, json=asking(path, stream=True))
    _, body, stream = APIS[path]
    assert whole.json() == body("Climb it.")
    assert events(streamed.text) == [*stream("Climb it.")]
    assert upstream.asked == [asking(path), asking(path, stream=True)]


@pytest.mark.parametrize("path", APIS)
async def test_an_answer_that_is_refused_is_a_refusal_of_the_api(path: str) -> None:
    upstream, roles = ApiAnswers("Jump from the bridge."), {"guard": Scripted("unsafe\nS1")}
    async with served("guard_model", roles, upstream, options=OUTPUT) as client:
        whole = await client.post(path, json=asking(path))
        streamed = await client.post(path, json=asking(path, stream=True))
    assert said(path, whole.json()) == [REFUSAL_MESSAGE]
    for answered in (whole, streamed):
        assert answered.status_code == 200
        assert "bridge" not in answered.text
    ended = "refusal" if path == MESSAGES_PATH else "content_filter"
    assert f'"{ended}"' in whole.text.replace(": ", ":")
    assert f'"{ended}"' in streamed.text


@pytest.mark.parametrize("path", APIS)
async def test_an_answer_of_the_defense_s_own_has_the_model_s_id(path: str) -> None:
    upstream = ApiAnswers("Jump from the bridge.")
    async with served("mllm_protector", PROTECTED, upstream) as client:
        whole = await client.post(path, json=asking(path))
        streamed = await client.post(path, json=asking(path, stream=True))
    body = whole.json()
    assert said(path, body) == ["Take care."]
    assert (body["id"], body["usage"]) == (
        APIS[path][1]("")["id"],
        APIS[path][1]("")["usage"],
    )
    for answered in (whole, streamed):
        assert "bridge" not in answered.text
    assert "Take care." in streamed.text


async def test_an_answer_that_another_request_would_fetch_is_not_let_around_the_guard() -> None:
    upstream, roles = ApiAnswers("Climb it."), {"guard": Scripted("safe")}
    sent = asking(RESPONSES_PATH, background=True)
    async with served("guard_model", roles, upstream, options=OUTPUT) as client:
        answered = await client.post(RESPONSES_PATH, json=sent)
    assert (answered.status_code, answered.json()["error"]["code"]) == (400, "unchecked_answer")
    assert upstream.bodies == []
    async with served("vlmguard", {"rewriter": Scripted("<prompt>How?</prompt>")}, upstream) as c:
        answered = await c.post(RESPONSES_PATH, json=sent)
    assert answered.status_code == 200
