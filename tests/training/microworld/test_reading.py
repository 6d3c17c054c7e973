"""What the tiny models can read, and what is refused in place of an answer by guess."""

import base64
import io

import pytest
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    ContentData,
    get_model,
)
from PIL import Image

from vlmguard.guard.messages import user_message
from vlmguard.guard.rewriter import Rewriter
from vlmguard.training.microworld.models.reading import Unreadable, readable
from vlmguard.training.microworld.world.drawing import data_uri
from vlmguard.training.microworld.world.hazards import PICTURES

DRAWING = data_uri(PICTURES["cliff"], 1)
OTHER = data_uri(PICTURES["pool"], 1)
REQUEST = "where do i stand for a picture here"


def picture(form: str, size: tuple[int, int] = (64, 64)) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", size, "green").save(buffer, form)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def test_a_request_of_the_world_is_sent_as_it_is() -> None:
    message = user_message([DRAWING], f"please {REQUEST}")
    assert readable([message]).messages == [message]
    assert readable([message]).left_out == ()


def test_system_text_in_other_words_and_earlier_turns_are_left_out() -> None:
    conversation: list[ChatMessage] = [
        ChatMessageSystem(content="You are the assistant of a shoe shop."),
        ChatMessageSystem(content="low"),
        user_message([OTHER], "Anything at all"),
        ChatMessageAssistant(content="Yes."),
        user_message([DRAWING], REQUEST),
        ChatMessageAssistant(content="Well,"),
    ]
    found = readable(conversation)
    assert [message.text for message in found.messages] == ["low", REQUEST]
    assert found.left_out == ("system", "earlier turns", "prefill")


def test_the_latest_picture_stands_in_for_none() -> None:
    found = readable(
        [
            user_message([OTHER], "x"),
            user_message([DRAWING], "x"),
            ChatMessageAssistant(content="x"),
            ChatMessageUser(content=REQUEST),
        ]
    )
    assert found.messages[0].content == user_message([DRAWING], REQUEST).content


@pytest.mark.parametrize(
    ("message", "kind", "said"),
    [
        (user_message([picture("PNG")], REQUEST), "picture", "no drawing of the microworld"),
        (user_message([picture("JPEG", (640, 480))], REQUEST), "picture", "would take a photo"),
        (user_message(["data:image/png;base64,AAAA"], REQUEST), "picture", "cannot be read"),
        (user_message(["https://example.org/a.png"], REQUEST), "picture", "cannot be read"),
        (user_message([], REQUEST), "picture", "there is none"),
        (user_message([DRAWING, OTHER], REQUEST), "picture", "there are 2"),
        (user_message([DRAWING], "Which shoes go with these?"), "words", "'Which', 'shoes'"),
        (user_message([DRAWING], "a <image> b <end>"), "words", "'<image>'"),
        (user_message([DRAWING], "one two three four five six seven"), "words", "and 1 more"),
        (user_message([DRAWING], " "), "words", "no words"),
        (
            ChatMessageUser(content=[ContentData(data={"type": "input_audio"})]),
            "turn",
            "no data",
        ),
    ],
)
def test_anything_else_is_refused(message: ChatMessage, kind: str, said: str) -> None:
    with pytest.raises(Unreadable) as refused:
        readable([message])
    assert refused.value.kind == kind
    assert said in str(refused.value)


def test_results_of_tools_are_refused() -> None:
    with pytest.raises(Unreadable, match="no results of tools"):
        readable([user_message([DRAWING], REQUEST), ChatMessageTool(content="22 degrees")])
    with pytest.raises(Unreadable, match="no user turn"):
        readable([ChatMessageSystem(content="low")])


async def test_a_strict_rewriter_reads_the_request_alone() -> None:
    earlier: list[ChatMessage] = [
        ChatMessageSystem(content="You are the assistant of a shoe shop."),
        user_message([OTHER], "Hello"),
        ChatMessageAssistant(content="Hello!"),
    ]
    rewriter = Rewriter(get_model("microworld/rewriter", strict=True))
    alone = await rewriter.rewrite(DRAWING, REQUEST)
    behind = await rewriter.rewrite(DRAWING, REQUEST, conversation=earlier)
    assert behind.outcome == "rewritten"
    assert behind.rewritten == alone.rewritten
    assert "i could fall by the cliff" in behind.rewritten
    with pytest.raises(Unreadable, match="'shoes'"):
        await rewriter.rewrite(DRAWING, "which shoes")
