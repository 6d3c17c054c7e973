"""Bodies of every API in any spelling of JSON: what no defense changed stays, byte by byte."""

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bodies import BODIES
from support.conversations import CONVERSATIONS
from support.load.bodies import exactly, in_any_spelling

from vlmguard.guard.defense import Conversation
from vlmguard.guard.serving.faults import Fault

# The long one is only slow.
SAMPLED = {name: turns for name, turns in CONVERSATIONS.items() if name != "very_long"}
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


@pytest.mark.parametrize("api", BODIES)
@settings(max_examples=170, deadline=None)
@given(
    name=st.sampled_from(sorted(SAMPLED)),
    seed=st.integers(0, 2**32),
    text=TEXTS,
)
def test_only_the_last_user_text_changes(api: str, name: str, seed: int, text: str) -> None:
    dialect, body_of = BODIES[api]
    body = in_any_spelling(body_of(SAMPLED[name]), random.Random(seed), fields=2)
    asked = dialect.read(body)
    conversation = Conversation(asked.messages)
    assert dialect.written(asked, list(asked.messages), None) == body
    written = dialect.written(asked, conversation.with_request(text), None)
    expected = exactly(body)
    if conversation.turn is not None:
        rewrite(expected, text)
    assert exactly(written) == expected


def rewrite(body: Any, text: str) -> None:
    """Puts another text into the last user turn of a body as `exactly` gives it."""
    key = "messages" if member(body, "messages") is not None else "input"
    entries = member(body, key)
    if isinstance(entries, str):
        put(body, key, text)
        return
    turn = [each for each in entries if member(each, "role") == "user" and not is_result(each)][-1]
    content = member(turn, "content")
    if isinstance(content, str):
        put(turn, "content", text)
        return
    kind = "input_text" if key == "input" else "text"
    texts = [part for part in content if member(part, "type") == kind]
    content[:] = [part for part in content if not any(part is each for each in texts[1:])]
    if texts:
        put(texts[0], "text", text)
    else:
        content.append(["{", ("type", kind), ("text", text)])


def is_result(turn: Any) -> bool:
    content = member(turn, "content")
    return isinstance(content, list) and member(content[0], "type") == "tool_result"


def member(value: list[Any], name: str) -> Any:
    return next((pair[1] for pair in value[1:] if pair[0] == name), None)


def put(value: list[Any], name: str, new: Any) -> None:
    value[:] = [(name, new) if pair[0] == name else pair for pair in value]


@pytest.mark.parametrize("api", BODIES)
@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(sorted(SAMPLED)), seed=st.integers(0, 2**32))
def test_a_body_that_is_not_as_the_api_writes_it_is_refused_or_passes(
    api: str, name: str, seed: int
) -> None:
    dialect, body_of = BODIES[api]
    value, source = body_of(SAMPLED[name]), random.Random(seed)
    for _ in range(source.randint(1, 3)):
        value = spoiled(value, source)
    body = json.dumps(value).encode()
    try:
        asked = dialect.read(body)
    except Fault:
        return
    assert dialect.written(asked, list(asked.messages), None) == body
    conversation = Conversation(asked.messages)
    changed = [conversation.with_addition("Mind.", "system")]
    # A turn that cannot be read is no defense's to change.
    changed += [conversation.with_request("Safely?")] if conversation.readable else []
    for decided in changed:
        again = dialect.read(dialect.written(asked, decided, None))
        assert Conversation(again.messages).text == Conversation(decided).text


WRONG = (
    None,
    True,
    7,
    -1.5,
    "",
    "user",
    "tool_result",
    [],
    {},
    [None],
    [[]],
    [{}],
    ["x"],
    {"a": 1},
)
RENAMED = ("type", "role", "content", "text", "source", "image_url", "output", "id", "x")


def spoiled(value: Any, source: random.Random) -> Any:
    """A value with one of its own replaced, taken out, named otherwise or there twice."""
    if isinstance(value, dict) and value:
        key = source.choice(list(value))
        if source.random() < 0.6:
            return {**value, key: spoiled(value[key], source)}
        left = {name: each for name, each in value.items() if name != key}
        return left if source.random() < 0.5 else {**left, source.choice(RENAMED): value[key]}
    if isinstance(value, list) and value:
        index = source.randrange(len(value))
        if source.random() < 0.7:
            return [*value[:index], spoiled(value[index], source), *value[index + 1 :]]
        return [*value, value[index]] if source.random() < 0.5 else value[:index]
    return source.choice(WRONG)
