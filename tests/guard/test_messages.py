"""Chat messages: built in one way, and read in all forms of their content."""

import pytest
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    ContentImage,
    ContentReasoning,
    ContentText,
)

from vlmguard.guard.messages import (
    image_parts,
    images_of,
    parts_of,
    replace_images,
    user_message,
    with_addition,
    with_text,
)


def kinds(message):
    return [getattr(part, part.type) for part in message.content]


def test_images_stand_before_the_text():
    assert kinds(user_message(["a", "b"], "what?")) == ["a", "b", "what?"]
    assert kinds(user_message(iter(()), "what?")) == ["what?"]


def test_images_are_found_in_every_turn_and_in_order():
    conversation = [
        ChatMessageSystem(content="be brief"),
        user_message(["a"], "first"),
        ChatMessageAssistant(content=[ContentReasoning(reasoning="hm"), ContentText(text="yes")]),
        ChatMessageUser(content=[ContentText(text="and"), ContentImage(image="b")]),
    ]
    assert images_of(conversation) == ["a", "b"]
    assert images_of("a sample's input may be a string") == []


def test_image_parts_are_those_of_the_conversation_itself():
    message = user_message(["path"], "what?")
    for part in image_parts([message]):
        part.image = "data:"
    assert images_of([message]) == ["data:"]


def test_the_parts_of_a_plain_string_are_one_text_and_the_list_is_new():
    assert [part.text for part in parts_of(ChatMessageUser(content="hello"))] == ["hello"]
    message = user_message(["a"], "what?")
    parts_of(message).clear()
    assert kinds(message) == ["a", "what?"]


def test_other_text_keeps_the_images_and_the_given_message():
    given = ChatMessageUser(
        content=[ContentText(text="1"), ContentImage(image="a"), ContentText(text="2")]
    )
    assert kinds(with_text(given, "new")) == ["a", "new"]
    assert kinds(with_text(ChatMessageUser(content="old"), "new")) == ["new"]
    assert kinds(given) == ["1", "a", "2"]


def test_an_addition_leaves_the_order_of_images_and_texts():
    given = ChatMessageUser(
        content=[ContentImage(image="a"), ContentText(text="1"), ContentText(text="2")]
    )
    assert kinds(with_addition(given, "x", "prefix")) == ["a", "x\n\n1", "2"]
    assert kinds(with_addition(given, "x", "suffix")) == ["a", "1", "2\n\nx"]
    image_last = ChatMessageUser(content=[ContentText(text="1"), ContentImage(image="a")])
    assert kinds(with_addition(image_last, "x", "suffix")) == ["1", "a", "x"]
    assert kinds(given) == ["a", "1", "2"]


def test_other_images_take_the_places_of_the_turns_own():
    turn = ChatMessageUser(
        content=[
            ContentText(text="left"),
            ContentImage(image="a", detail="low"),
            ContentText(text="right"),
            ContentImage(image="b"),
        ]
    )
    assert kinds(replace_images(turn, ["c", "d"])) == ["left", "c", "right", "d"]
    assert replace_images(turn, ["c", "d"]).content[1].detail == "low"
    assert kinds(replace_images(turn, [])) == ["left", "right"]
    assert images_of([turn]) == ["a", "b"]
    with pytest.raises(ValueError, match="1 images for the places of 2"):
        replace_images(turn, ["c"])
