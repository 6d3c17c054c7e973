"""What all APIs of the proxy have in common: the same conversation, read and written back."""

import json
from collections.abc import Callable
from typing import Final

import pytest
from inspect_ai.model import ChatMessage
from support.bodies import BODIES, meaning
from support.conversations import BLUE, CONVERSATIONS

from vlmguard.guard.defense import Conversation
from vlmguard.guard.messages import images_of

DECISIONS: Final[dict[str, Callable[[Conversation], list[ChatMessage]]]] = {
    "pass": lambda asked: list(asked.messages),
    "rewrite": lambda asked: asked.with_request("How do I tie it safely?\nSay “why” too."),
    "system": lambda asked: asked.with_addition("Mind the safety.", "system"),
    "prefix": lambda asked: asked.with_addition("Mind the safety.", "prefix"),
    "suffix": lambda asked: asked.with_addition("Mind the safety.", "suffix"),
    "images": lambda asked: asked.with_images([BLUE for _ in asked.images]),
    "no_images": lambda asked: asked.with_images([]),
}
"""What defenses make of a conversation."""


@pytest.mark.parametrize("api", BODIES)
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_conversation_is_read_alike_in_every_api(api: str, name: str) -> None:
    dialect, body_of = BODIES[api]
    conversation = CONVERSATIONS[name]
    read = dialect.read(json.dumps(body_of(conversation)).encode())
    assert meaning(read.messages) == meaning(conversation)
    seen, was = Conversation(read.messages), Conversation(conversation)
    assert (seen.text, seen.images, seen.skipped) == (was.text, was.images, was.skipped)
    assert (read.model, read.stream) == ("m", False)


@pytest.mark.parametrize("api", BODIES)
@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_decision_means_the_same_in_every_api(api: str, decision: str, name: str) -> None:
    dialect, body_of = BODIES[api]
    body = json.dumps(body_of(CONVERSATIONS[name])).encode()
    read = dialect.read(body)
    decided = DECISIONS[decision](Conversation(read.messages))
    written = dialect.written(read, decided, None)
    again = dialect.read(written)
    assert meaning(again.messages) == meaning(decided)
    if decision == "pass":
        assert written == body


@pytest.mark.parametrize("api", BODIES)
def test_fields_that_nobody_knows_stay_where_parts_are_written_again(api: str) -> None:
    dialect, body_of = BODIES[api]
    body = body_of(CONVERSATIONS["alternating"])
    entries = body.get("messages") or body["input"]
    entries[-1]["vendor"] = {"x": [1]}
    for number, part in enumerate(entries[-1]["content"]):
        part["cache_control"] = {"type": "ephemeral", "n": number}
    entries[-1]["content"].append({"type": "sound", "data": "abc"})
    read = dialect.read(json.dumps({**body, "zeta": None}).encode())
    assert Conversation(read.messages).unread == ["data"]
    decided = Conversation(read.messages).with_request("Safely, please.")
    written = json.loads(dialect.written(read, decided, None))
    assert written.pop("zeta", 0) is None
    text, *others = (written.get("messages") or written["input"])[-1]["content"]
    was = entries[-1]["content"]
    # The first text part has the text, the other two are gone.
    assert text == {**was[0], "text": "Safely, please."}
    assert others == [was[1], was[3], was[5]]
    assert (written.get("messages") or written["input"])[-1]["vendor"] == {"x": [1]}


@pytest.mark.parametrize("api", BODIES)
def test_an_image_alone_gets_the_text_behind_it(api: str) -> None:
    dialect, body_of = BODIES[api]
    body = body_of(CONVERSATIONS["image_only"])
    read = dialect.read(json.dumps(body).encode())
    decided = Conversation(read.messages).with_request("What is it?")
    written = json.loads(dialect.written(read, decided, None))
    (entry,) = written.get("messages") or written["input"]
    image, text = entry["content"]
    assert [image] == (body.get("messages") or body["input"])[0]["content"]
    assert text["text"] == "What is it?"
    assert images_of(read.messages) == images_of(CONVERSATIONS["image_only"])
