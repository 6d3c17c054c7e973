"""Inspect's messages become a conversation; a completion becomes reasoning and answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    ContentAudio,
    ContentImage,
    ContentText,
)

from vlmguard.guard.errors import UserError
from vlmguard.guard.hf_vlm.messages import split_reasoning, to_conversation


def convert(*messages, system_turns=True, control_tokens=("<image>",)):
    return to_conversation(list(messages), system_turns=system_turns, control_tokens=control_tokens)


def text(value):
    return {"type": "text", "text": value}


def test_images_of_all_turns_are_collected_in_order():
    conversation = convert(
        ChatMessageUser(content=[ContentImage(image="a"), ContentText(text="one")]),
        ChatMessageAssistant(content="yes"),
        ChatMessageUser(content=[ContentText(text="two"), ContentImage(image="b")]),
    )
    assert conversation.images == ["a", "b"]
    assert conversation.turns == [
        {"role": "user", "content": [{"type": "image"}, text("one")]},
        {"role": "assistant", "content": [text("yes")]},
        {"role": "user", "content": [text("two"), {"type": "image"}]},
    ]
    assert conversation.notes == []


def test_system_turns_are_folded_into_the_next_user_turn():
    conversation = convert(
        ChatMessageSystem(content="be brief"),
        ChatMessageUser(content="hello"),
        system_turns=False,
    )
    assert conversation.turns == [
        {"role": "user", "content": [text("be brief\n\n"), text("hello")]}
    ]
    assert len(conversation.notes) == 1


def test_a_system_turn_alone_becomes_the_request():
    conversation = convert(ChatMessageSystem(content="say hello"), system_turns=False)
    assert conversation.turns == [{"role": "user", "content": [text("say hello")]}]


def test_a_folded_system_turn_keeps_its_images_and_loses_its_placeholders():
    conversation = convert(
        ChatMessageUser(content=[ContentImage(image="a"), ContentText(text="one")]),
        ChatMessageSystem(content=[ContentText(text="like <image>"), ContentImage(image="b")]),
        ChatMessageSystem(content="be brief"),
        ChatMessageAssistant(content="yes"),
        ChatMessageUser(content=[ContentImage(image="c"), ContentText(text="two")]),
        system_turns=False,
    )
    assert conversation.turns == [
        {"role": "user", "content": [{"type": "image"}, text("one")]},
        {"role": "assistant", "content": [text("yes")]},
        {
            "role": "user",
            "content": [
                *(text("like < image>"), {"type": "image"}, text("be brief\n\n")),
                *({"type": "image"}, text("two")),
            ],
        },
    ]
    assert conversation.images == ["a", "b", "c"]
    assert len(conversation.notes) == 2


@pytest.mark.parametrize(
    ("given_text", "prefix", "space"),
    [("The", "The", ""), ("The \n", "The", " \n"), ("a  b", "a  b", "")],
)
def test_the_prefix_is_split_from_its_white_space(given_text, prefix, space):
    conversation = convert(ChatMessageUser(content="x"), ChatMessageAssistant(content=given_text))
    assert (conversation.prefix, conversation.prefix_space) == (prefix, space)
    assert conversation.turns[-1] == {"role": "assistant", "content": [text(prefix)]}


def test_an_earlier_answer_is_no_prefix():
    conversation = convert(ChatMessageAssistant(content="yes "), ChatMessageUser(content="x"))
    assert conversation.prefix is None
    assert conversation.turns[0]["content"] == [text("yes ")]


def test_every_placeholder_is_broken_up_and_noted_once():
    conversation = convert(ChatMessageUser(content="<image> and <image>"))
    assert conversation.turns[0]["content"] == [text("< image> and < image>")]
    assert len(conversation.notes) == 1


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (ChatMessageTool(content="42"), "tools"),
        (ChatMessageUser(content=[ContentAudio(audio="a.wav", format="wav")]), "audio"),
    ],
)
def test_what_is_not_supported_is_refused(message, error):
    with pytest.raises(UserError, match=error):
        convert(message)


@pytest.mark.parametrize(
    ("completion", "opened", "reasoning", "answer"),
    [
        ("<think>\nred\n</think>\n\nA ball.", False, "red", "A ball."),
        (" <think></think>A ball.", False, "", "A ball."),
        ("red\n</think>\nA ball.", True, "red", "A ball."),
        ("<think>cut off", False, "cut off", ""),
        ("cut off", True, "cut off", ""),
        ("A <think>ball</think>", False, None, "A <think>ball</think>"),
        ("  A ball.", False, None, "  A ball."),
    ],
)
def test_reasoning_is_split_from_the_answer(completion, opened, reasoning, answer):
    assert split_reasoning(completion, opened=opened) == (reasoning, answer)


@given(st.text(), st.text().filter(lambda value: "</think>" not in value))
def test_nothing_of_the_answer_is_lost(answer, reasoning):
    parsed = split_reasoning(f"<think>{reasoning}</think>{answer}", opened=False)
    assert parsed == (reasoning.strip(), answer.lstrip())
