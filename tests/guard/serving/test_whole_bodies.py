"""Random bodies through the whole server: the very bytes, or all but the last user's text."""

import json
from typing import Any

import pytest
from support.load.bodies import exactly, random_request, rewritten
from support.scripted import Scripted, picture
from support.serving import CHAT_PATH, Answers, served

from vlmguard.guard.serving.images import ImagePolicy

SAFELY = "How do I climb it safely?"
REWRITE = f"<reasoning>A fall.</reasoning><prompt>{SAFELY}</prompt>"
LLAMA_GUARD = {"adapter": "llama_guard"}


async def test_250_bodies_that_pass_are_the_very_bytes() -> None:
    upstream, safe = Answers(), {"guard": Scripted("safe")}
    more = {"options": LLAMA_GUARD, "images": ImagePolicy(count=50)}
    async with served("guard_model", safe, upstream, **more) as client:
        for number in range(250):
            sent = random_request(number)
            answered = await client.post(CHAT_PATH, content=sent)
            assert answered.status_code == 200, sent
            assert answered.headers["x-vlmguard-action"] in ("pass", "skipped")
            assert upstream.bodies[-1] == sent
            assert int(upstream.headers[-1]["content-length"]) == len(sent)


async def test_250_bodies_that_are_rewritten_say_all_else_as_before() -> None:
    upstream, actions = Answers(), set()
    roles, images = {"rewriter": Scripted(REWRITE)}, ImagePolicy(count=50)
    async with served("vlmguard", roles, upstream, images=images) as client:
        for number in range(250, 500):
            sent = random_request(number)
            answered = await client.post(CHAT_PATH, content=sent)
            assert answered.status_code == 200, sent
            action, got = answered.headers["x-vlmguard-action"], upstream.bodies[-1]
            if action == "rewrite":
                assert exactly(got) == rewritten(sent, SAFELY)
            else:
                assert got == sent
            assert int(upstream.headers[-1]["content-length"]) == len(got)
            actions.add(action)
    assert actions == {"rewrite", "skipped"}


AUDIO = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
FILE = {"type": "file", "file": {"file_id": "file-1"}}
TEXT = {"type": "text", "text": "How?", "x": 1}


@pytest.mark.parametrize(
    ("content", "after"),
    [
        ([AUDIO, TEXT], [AUDIO, {**TEXT, "text": SAFELY}]),
        ([TEXT, FILE, TEXT], [{**TEXT, "text": SAFELY}, FILE]),
    ],
)
async def test_parts_that_nobody_reads_go_on_and_are_told(content: Any, after: Any) -> None:
    upstream, turn = Answers(), {"model": "m", "n": 2, "logprobs": True}
    sent = {**turn, "messages": [{"role": "user", "content": content}]}
    safe = {"guard": Scripted("safe")}
    async with served("guard_model", safe, upstream, options=LLAMA_GUARD) as client:
        passed = await client.post(CHAT_PATH, json=sent)
    assert passed.headers["x-vlmguard-action"] == "partial"
    async with served("vlmguard", {"rewriter": Scripted(REWRITE)}, upstream) as client:
        changed = await client.post(CHAT_PATH, json=sent)
    assert changed.headers["x-vlmguard-action"] == "rewrite"
    assert upstream.asked == [sent, {**turn, "messages": [{"role": "user", "content": after}]}]


@pytest.mark.parametrize(("on_failure", "status"), [("refuse", 503), ("original", 200)])
async def test_a_turn_of_such_parts_alone_follows_the_rule_for_failures(
    on_failure: str, status: int
) -> None:
    upstream, sent = Answers(), {"model": "m", "messages": [{"role": "user", "content": [AUDIO]}]}
    rewriter = Scripted(REWRITE)
    rule = {"on_failure": on_failure}
    async with served("vlmguard", {"rewriter": rewriter}, upstream, **rule) as client:
        answered = await client.post(CHAT_PATH, json=sent)
    assert answered.status_code == status
    assert (rewriter.calls, upstream.asked) == ([], [sent] if status == 200 else [])


async def test_an_image_alone_gets_its_text_behind_it_and_a_prefill_stays() -> None:
    upstream = Answers()
    image = {"type": "image_url", "image_url": {"url": picture(), "detail": "low"}, "x": 1.5}
    begun = {"role": "assistant", "content": "Sure,", "prefix": True}
    sent = {"model": "m", "messages": [{"role": "user", "content": [image]}, begun]}
    async with served("vlmguard", {"rewriter": Scripted(REWRITE)}, upstream) as client:
        await client.post(CHAT_PATH, content=json.dumps(sent))
    said = [image, {"type": "text", "text": SAFELY}]
    assert upstream.asked[0]["messages"] == [{"role": "user", "content": said}, begun]
