"""What only the Responses API has: instructions, items, a text as input, stored turns."""

import json
from typing import Any

import pytest
from inspect_ai.model import GenerateConfig
from support.conversations import RED

from vlmguard.guard.defense import Conversation
from vlmguard.guard.serving.dialects.responses import RESPONSES
from vlmguard.guard.serving.faults import Fault
from vlmguard.guard.text.outputs import read_output

QUESTION = {"role": "user", "content": "How?"}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "xyz"}
IMAGE = {"type": "input_image", "image_url": RED, "detail": "low"}


def body(value: Any, **more: Any) -> bytes:
    return json.dumps({"model": "m", "input": value, **more}).encode()


@pytest.mark.parametrize(
    ("kind", "output"),
    [
        ("function_call_output", "A bowline."),
        ("function_call_output", [{"type": "input_text", "text": "See."}, IMAGE]),
        ("computer_call_output", {"type": "computer_screenshot", "image_url": RED}),
        ("shell_call_output", [{"stdout": "a", "stderr": "", "outcome": {"type": "exit"}}]),
        ("custom_tool_call_output", "A bowline."),
    ],
)
def test_an_output_of_a_tool_is_a_tool_turn(kind: str, output: Any) -> None:
    sent = body([QUESTION, THOUGHT, CALL, {"type": kind, "call_id": "c", "output": output}])
    asked = RESPONSES.read(sent)
    assert [each.role for each in asked.messages] == ["user", "assistant", "assistant", "tool"]
    assert Conversation(asked.messages).skipped == "tool_turn"


def test_items_of_every_kind_stay_around_a_rewritten_turn() -> None:
    before = [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "D"}]},
        QUESTION,
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "item_reference", "id": "msg_1"},
        {"id": "msg_2"},
        {"type": "compaction", "encrypted_content": "x"},
    ]
    turn = {"type": "message", "role": "user", "content": [IMAGE], "x": 1}
    kept = {
        "tools": [{"type": "web_search"}, {"type": "mcp", "server_url": "https://x.test"}],
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
        "previous_response_id": "resp_1",
    }
    asked = RESPONSES.read(body([*before, turn], **kept))
    assert Conversation(asked.messages).unread == ["data"]
    decided = Conversation(asked.messages).with_request("Safely?")
    said = {"type": "input_text", "text": "Safely?"}
    changed = json.loads(RESPONSES.written(asked, decided, None))
    assert changed == json.loads(body([*before, {**turn, "content": [IMAGE, said]}], **kept))


def test_a_last_item_that_nobody_can_read_is_not_taken_for_safe() -> None:
    asked = RESPONSES.read(body([QUESTION, {"id": "msg_9"}]))
    conversation = Conversation(asked.messages)
    assert (conversation.readable, conversation.skipped) == (False, "")


def test_a_text_as_input_stays_one() -> None:
    asked = RESPONSES.read(body("How?", temperature=1.0))
    conversation = Conversation(asked.messages)
    settings = GenerateConfig(temperature=0, max_tokens=5)
    changed = json.loads(RESPONSES.written(asked, conversation.with_request("Safely?"), settings))
    assert changed == json.loads(body("Safely?", temperature=0, max_output_tokens=5))


@pytest.mark.parametrize(("system", "expected"), [(None, "Mind."), ("Brief.", "Mind.\n\nBrief.")])
def test_a_defense_s_system_text_is_of_the_instructions(system: Any, expected: str) -> None:
    asked = RESPONSES.read(body("How?", instructions=system))
    decided = Conversation(asked.messages).with_addition("Mind.", "system")
    changed = json.loads(RESPONSES.written(asked, decided, None))
    assert changed == json.loads(body("How?", instructions=expected))


@pytest.mark.parametrize("field", ["previous_response_id", "conversation", "prompt"])
def test_a_request_whose_words_the_upstream_has_is_not_taken_for_safe(field: str) -> None:
    sent = json.dumps({"model": "m", field: "id_1"}).encode()
    asked = RESPONSES.read(sent)
    conversation = Conversation(asked.messages)
    assert (conversation.readable, conversation.skipped) == (False, "")
    assert RESPONSES.written(asked, asked.messages, None) == sent


@pytest.mark.parametrize(
    "value",
    [None, [], 3, ["x"], [{"role": "tool", "content": "x"}], [{"role": "user", "content": [{}]}]],
)
def test_what_is_no_input_is_refused_with_its_place(value: Any) -> None:
    with pytest.raises(Fault) as caught:
        RESPONSES.read(body(value))
    assert (caught.value.status, caught.value.code) == (400, "invalid_messages")
    assert str(caught.value.param).startswith("input")


def message(kind: str, said: str) -> dict[str, Any]:
    part = {"type": kind, ("refusal" if kind == "refusal" else "text"): said}
    return {"type": "message", "role": "assistant", "content": [part]}


@pytest.mark.parametrize(
    ("output", "reason", "kind"),
    [
        ([THOUGHT, message("output_text", "An answer.")], None, "answer"),
        ([message("output_text", "An ans")], "max_output_tokens", "cut_off"),
        ([message("output_text", "No")], "content_filter", "refusal"),
        ([message("refusal", "I can't.")], None, "refusal"),
        ([THOUGHT], None, "no_answer"),
    ],
)
def test_an_answer_is_read(output: list[Any], reason: str | None, kind: str) -> None:
    details = None if reason is None else {"reason": reason}
    read = RESPONSES.output({"output": output, "incomplete_details": details})
    assert read_output(read).kind == kind


def test_a_call_of_the_client_s_tools_is_told_from_one_of_the_provider_s() -> None:
    said = message("output_text", "It is.")
    ran = {"type": "web_search_call", "id": "ws_1"}
    assert RESPONSES.output({"output": [ran, said]}).message.tool_calls is None
    assert RESPONSES.output({"output": [said, CALL]}).message.tool_calls
