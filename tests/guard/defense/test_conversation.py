"""What a defense reads of a conversation, and the only turn that it changes."""

import pytest
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    ContentImage,
)
from inspect_ai.tool import ToolCall
from support.scripted import picture, user

from vlmguard.guard.defense import Conversation
from vlmguard.guard.messages import images_of

RED, BLUE = picture("red"), picture("blue")
SYSTEM = ChatMessageSystem(content="Be brief.")
OLD = [user("Old?", RED), ChatMessageAssistant(content="Old.")]
PREFILL = ChatMessageAssistant(content="Sure, ")
CALLED = [
    ChatMessageAssistant(content="", tool_calls=[ToolCall(id="1", function="look", arguments={})]),
    ChatMessageTool(content="Nothing.", tool_call_id="1"),
]


def test_the_last_user_turn_is_the_request() -> None:
    conversation = Conversation([SYSTEM, *OLD, user("New?", BLUE), PREFILL])
    assert (conversation.text, conversation.images) == ("New?", [BLUE])
    assert conversation.seen == [RED, BLUE]
    assert conversation.earlier == [SYSTEM, *OLD]
    assert conversation.system == [SYSTEM]
    assert (conversation.prefill, conversation.later) == ("Sure, ", [])
    assert conversation.without_prefill == list(conversation.messages[:-1])


def test_what_was_called_is_no_prefill() -> None:
    conversation = Conversation([user("How?"), *CALLED])
    assert (conversation.prefill, conversation.later) == ("", CALLED)
    assert Conversation([user("How?"), CALLED[0]]).prefill == ""
    assert Conversation([user("How?"), *CALLED, PREFILL]).later == CALLED


@pytest.mark.parametrize(
    ("messages", "skipped"),
    [
        ([], "no_user_turn"),
        ([SYSTEM], "no_user_turn"),
        ([user(" \n")], "empty"),
        ([user("How?"), *CALLED], "tool_turn"),
        ([user("How?"), *CALLED, user("And now?")], ""),
        ([user("How?"), PREFILL], ""),
        ([user("How?"), SYSTEM], ""),
        ([ChatMessageUser(content=[ContentImage(image=RED)])], ""),
    ],
)
def test_where_there_is_nothing_to_protect(messages: list[ChatMessage], skipped: str) -> None:
    conversation = Conversation(messages)
    assert conversation.skipped == skipped
    if skipped == "no_user_turn":
        assert (conversation.text, conversation.seen, conversation.earlier) == ("", [], [])
        assert conversation.with_request("x") == messages
        assert conversation.later == messages


@pytest.mark.parametrize("place", ["request", "prefix", "suffix"])
def test_only_the_last_user_turn_changes(place: str) -> None:
    messages = [SYSTEM, *OLD, user("New?", BLUE), PREFILL]
    conversation = Conversation(messages)
    if place == "request":
        changed = conversation.with_request("Else?")
    else:
        changed = conversation.with_addition("Else?", place)  # type: ignore[arg-type]
    assert [*changed[:3], *changed[4:]] == [*messages[:3], *messages[4:]]
    assert images_of([changed[3]]) == [BLUE]
    wanted = {"request": "Else?", "prefix": "Else?\n\nNew?", "suffix": "New?\n\nElse?"}
    assert changed[3].text == wanted[place]
    assert messages[3].text == "New?"


def test_an_image_alone_gets_a_text_behind_it() -> None:
    turn = ChatMessageUser(content=[ContentImage(image=RED)])
    (changed,) = Conversation([turn]).with_request("What is it?")
    assert [part.type for part in changed.content if not isinstance(part, str)] == ["image", "text"]


def test_a_system_turn_comes_first() -> None:
    first, *rest = Conversation(OLD).with_addition("Take care.", "system")
    assert (first.role, first.text, rest) == ("system", "Take care.", OLD)
