"""What only Anthropic's Messages API has: system text, sources of images, results of tools."""

import json
from typing import Any

import pytest
from inspect_ai.model import ChatMessage, GenerateConfig
from support.conversations import RED

from vlmguard.guard.defense import Conversation
from vlmguard.guard.serving.dialects.messages import MESSAGES
from vlmguard.guard.serving.faults import Fault
from vlmguard.guard.text.outputs import read_output

IMAGE = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": RED.partition(",")[2]},
}
CACHED = {"cache_control": {"type": "ephemeral"}}


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": said, **more}


def result(content: Any = "A bowline.") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "toolu_1", "content": content, **CACHED}


def body(*contents: Any, **more: Any) -> bytes:
    turns = [
        {"role": "assistant" if number % 2 else "user", "content": content}
        for number, content in enumerate(contents)
    ]
    return json.dumps({"model": "m", "max_tokens": 9, "messages": turns, **more}).encode()


def written(sent: bytes, new: str) -> Any:
    asked = MESSAGES.read(sent)
    decided: list[ChatMessage] = Conversation(asked.messages).with_request(new)
    return json.loads(MESSAGES.written(asked, decided, None))


CALL = [text("Let me look."), {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}]


@pytest.mark.parametrize("content", ["A bowline.", [text("A bowline."), IMAGE], None])
def test_a_turn_of_results_alone_is_a_tool_turn(content: Any) -> None:
    asked = MESSAGES.read(body("How?", CALL, [result(content), result()]))
    assert [message.role for message in asked.messages] == ["user", "assistant", "tool"]
    assert Conversation(asked.messages).skipped == "tool_turn"


def test_words_behind_a_result_are_protected_and_the_result_stays() -> None:
    sent = body("How?", CALL, [result(), text("And", **CACHED), IMAGE, text("how do I climb it?")])
    conversation = Conversation(MESSAGES.read(sent).messages)
    assert conversation.skipped == ""
    assert (conversation.images, conversation.unread) == ([RED], [])
    assert written(sent, "Safely?") == json.loads(
        body("How?", CALL, [result(), text("Safely?", **CACHED), IMAGE])
    )


def test_an_earlier_mixed_turn_stays_as_it_is() -> None:
    mixed = [result(), text("Is that all?")]
    sent = body("How?", CALL, mixed, "Yes.", "And now?")
    asked = MESSAGES.read(sent)
    assert MESSAGES.written(asked, asked.messages, None) == sent
    assert written(sent, "Safely?") == json.loads(body("How?", CALL, mixed, "Yes.", "Safely?"))


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (None, "Mind."),
        ("Be brief.", "Mind.\n\nBe brief."),
        ([text("Be brief.", **CACHED)], [text("Mind."), text("Be brief.", **CACHED)]),
    ],
)
def test_a_defense_s_system_text_stands_before_the_client_s(system: Any, expected: Any) -> None:
    more = {} if system is None else {"system": system}
    asked = MESSAGES.read(body("How?", **more))
    decided = Conversation(asked.messages).with_addition("Mind.", "system")
    changed = json.loads(MESSAGES.written(asked, decided, GenerateConfig(max_tokens=5, seed=1)))
    assert changed == {**json.loads(body("How?", system=expected)), "max_tokens": 5}


def test_a_changed_image_is_a_source_and_keeps_its_marks() -> None:
    link = {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}, **CACHED}
    asked = MESSAGES.read(body([link, text("What?")]))
    decided = Conversation(asked.messages).with_images([RED])
    changed = json.loads(MESSAGES.written(asked, decided, None))
    assert changed == json.loads(body([{**IMAGE, **CACHED}, text("What?")]))


def test_what_nobody_reads_is_said_to_be_unread() -> None:
    document = {"type": "document", "source": {"type": "text", "data": "x"}}
    stored = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}
    asked = MESSAGES.read(body([document, stored, text("What?")]))
    assert Conversation(asked.messages).unread == ["data"]


def test_several_answers_to_one_request_are_refused_and_not_left_out() -> None:
    asked = MESSAGES.read(body("How?"))
    with pytest.raises(Fault, match="num_choices"):
        MESSAGES.written(asked, asked.messages, GenerateConfig(num_choices=5))


@pytest.mark.parametrize(
    "turn",
    [
        {"role": "tool", "content": "x"},
        {"role": "user", "content": 1},
        {"role": "user", "content": [{"type": "image", "source": {"type": "base64"}}]},
        {"role": "user", "content": [{"type": "text"}]},
        {"role": "user", "content": ["x"]},
        "x",
    ],
)
def test_what_is_no_message_is_refused_with_its_place(turn: Any) -> None:
    with pytest.raises(Fault) as caught:
        MESSAGES.read(json.dumps({"messages": [turn]}).encode())
    assert (caught.value.status, caught.value.code) == (400, "invalid_messages")
    assert str(caught.value.param).startswith("messages.0")


@pytest.mark.parametrize(
    ("blocks", "reason", "kind"),
    [
        ([text("An answer.")], "end_turn", "answer"),
        ([text("An ans")], "max_tokens", "cut_off"),
        ([{"type": "thinking", "thinking": "Hm."}], "end_turn", "no_answer"),
        ([text("No")], "refusal", "refusal"),
    ],
)
def test_an_answer_is_read(blocks: list[Any], reason: str, kind: str) -> None:
    usage = {"input_tokens": 3, "output_tokens": 2}
    output = MESSAGES.output({"content": blocks, "stop_reason": reason, "usage": usage})
    assert read_output(output).kind == kind
    assert output.usage is not None
    assert output.usage.total_tokens == 5


def test_a_call_of_the_client_s_tools_is_told_from_one_of_the_provider_s() -> None:
    ran = [{"type": "server_tool_use", "id": "s", "name": "web_search"}, text("It is.")]
    assert MESSAGES.output({"content": ran, "stop_reason": "end_turn"}).message.tool_calls is None
    assert MESSAGES.output({"content": CALL, "stop_reason": "tool_use"}).message.tool_calls
