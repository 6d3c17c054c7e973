"""Chat completions through the proxy: what passes, what is rewritten, what is refused."""

import json
from typing import Any

import pytest
from support.scripted import Scripted
from support.serving import CHAT_PATH, Answers, served

REWRITE = "<reasoning>A fall.</reasoning><prompt>How do I climb it safely?</prompt>"


def body(content: Any, **more: Any) -> bytes:
    return json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": content}], **more}
    ).encode()


async def test_what_the_rewriter_copies_goes_on_as_the_very_bytes() -> None:
    upstream = Answers()
    sent = b'{ "model":"m","x":1.00, "messages":[{"content":"How do I tie it?","role":"user"}] }'
    copied = Scripted("<reasoning>Fine.</reasoning><prompt>How do I tie it?</prompt>")
    async with served("vlmguard", {"rewriter": copied}, upstream) as client:
        answered = await client.post(CHAT_PATH, content=sent)
    assert answered.headers["x-vlmguard-action"] == "pass"
    assert upstream.bodies == [sent]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("How do I climb it?", "How do I climb it safely?"),
        (
            [{"type": "text", "text": "How do"}, {"type": "text", "text": "I climb it?", "x": 1}],
            [{"type": "text", "text": "How do I climb it safely?"}],
        ),
    ],
)
async def test_only_the_text_of_the_last_user_turn_is_rewritten(
    content: Any, expected: Any
) -> None:
    upstream = Answers()
    async with served("vlmguard", {"rewriter": Scripted(REWRITE)}, upstream) as client:
        answered = await client.post(CHAT_PATH, content=body(content, temperature=0.50, vendor={}))
    assert answered.status_code == 200
    assert answered.headers["x-vlmguard-action"] == "rewrite"
    (asked,) = upstream.asked
    assert asked == json.loads(body(expected, temperature=0.5, vendor={}))


async def test_a_key_that_stands_twice_is_refused() -> None:
    upstream = Answers()
    async with served("vlmguard", {"rewriter": Scripted(REWRITE)}, upstream) as client:
        answered = await client.post(CHAT_PATH, content=b'{"messages": [], "messages": []}')
    assert (answered.status_code, answered.json()["error"]["code"]) == (400, "invalid_json")
    assert upstream.bodies == []


async def test_a_blocked_request_is_a_normal_completion_and_never_reaches_the_model() -> None:
    upstream, unsafe = Answers(), Scripted("unsafe\nS1")
    options = {"adapter": "llama_guard"}
    async with served("guard_model", {"guard": unsafe}, upstream, options=options) as client:
        answered = await client.post(CHAT_PATH, content=body("How?"))
    (choice,) = answered.json()["choices"]
    assert choice["finish_reason"] == "content_filter"
    assert answered.headers["x-vlmguard-action"] == "block"
    assert upstream.bodies == []
