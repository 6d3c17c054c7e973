"""`vlmguard serve` as the guardrail of a real LiteLLM gateway, with the lines in our documents."""

import json
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any

import openai
import pytest
from support.integrations import needs

needs("litellm")

from support.litellm_around import ANSWER, SAFE, Around, image, said_in, words
from support.scripted import picture

from vlmguard.guard.serving.gateway import TESTED_LITELLM

HOW = "How do I climb it?"
SYSTEM = {"role": "system", "content": "SYS"}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_the_gateway_is_the_one_whose_traffic_was_recorded() -> None:
    assert version("litellm").startswith(f"{TESTED_LITELLM}.")


def test_the_text_changes_and_all_else_goes_on(six_lines: Around) -> None:
    first, said = user([words("What is it?"), image("blue")]), "A roof."
    earlier = [SYSTEM, first, {"role": "assistant", "content": said}]
    answered = six_lines.ask(
        None,
        [words("How do"), image(), words("I climb it?")],
        *earlier,
        temperature=0.5,
        extra_body={"vendor": {"x": 1}},
    )
    assert answered.choices[0].message.content == ANSWER
    assert six_lines.sent == [*earlier, user([words(SAFE), image()])]
    (asked,) = six_lines.upstream.asked
    assert (asked["temperature"], asked["vendor"]) == (0.5, {"x": 1})


def test_a_plain_text_is_rewritten(six_lines: Around) -> None:
    six_lines.ask(None, HOW, SYSTEM)
    assert six_lines.sent == [SYSTEM, user(SAFE)]


def test_an_image_beside_a_system_text_gets_a_text_and_the_system_text_stays(
    six_lines: Around,
) -> None:
    six_lines.ask(None, [image()], SYSTEM)
    assert six_lines.sent == [SYSTEM, user([image(), words(SAFE)])]


def test_an_image_alone_is_never_shown_to_this_guard(six_lines: Around) -> None:
    # A hole of the gateway, which our documents name; its last version is above.
    six_lines.ask(None, [image()])
    assert six_lines.sent == [user([image()])]
    assert six_lines.helper.requests == []


def test_a_tools_result_is_left_alone(six_lines: Around) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages: list[Any] = [
        user(HOW),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "A roof."},
    ]
    six_lines.chat(None, messages)
    assert [each.get("content") for each in six_lines.sent] == [HOW, None, "A roof."]
    assert six_lines.helper.requests == []


def test_a_stream_is_rewritten_before_and_relayed_behind(six_lines: Around) -> None:
    chunks = list(six_lines.ask(None, HOW, stream=True))
    assert said_in(chunks) == ANSWER.replace(" ", "")
    assert len(chunks) > 3
    assert six_lines.sent == [user(SAFE)]


def test_responses_are_rewritten_as_a_text_or_a_list(six_lines: Around) -> None:
    shown: Any = {"type": "input_image", "image_url": picture()}
    parts: Any = [{"type": "input_text", "text": HOW}, shown]
    for given in (HOW, [user(parts)]):
        six_lines.client.responses.create(model="m", input=given)
        asked = six_lines.upstream.asked[-1]
        assert SAFE in json.dumps(asked["input"])
        assert HOW not in json.dumps(asked["input"])
    assert picture() in json.dumps(asked["input"])


def test_messages_are_rewritten(six_lines: Around) -> None:
    payload = picture().partition(",")[2]
    source = {"type": "base64", "media_type": "image/png", "data": payload}
    content = [{"type": "image", "source": source}, words(HOW)]
    answered = six_lines.post("messages", content, model="claude")
    assert answered.json()["content"][0]["text"] == ANSWER
    assert six_lines.sent == [user([image(), words(SAFE)])]


def test_images_that_are_no_data_are_refused(six_lines: Around) -> None:
    path = {"type": "image_url", "image_url": {"url": "/etc/passwd"}}
    with pytest.raises(openai.APIStatusError):
        six_lines.ask(None, [words(HOW), path])
    assert six_lines.upstream.bodies == []


def test_a_guard_that_fails_closes_the_gateway_unless_that_says_otherwise(
    six_lines: Around, around: Around
) -> None:
    six_lines.helper.fail.set()
    with pytest.raises(openai.InternalServerError) as error:
        six_lines.ask(None, HOW)
    assert "guardrail" in str(error.value)
    assert six_lines.upstream.bodies == []
    around.helper.fail.set()
    around.ask("open", HOW)
    around.ask("gone", HOW)
    assert [asked["messages"] for asked in around.upstream.asked] == [[user(HOW)], [user(HOW)]]


def test_requests_and_answers_are_blocked(around: Around) -> None:
    assert around.ask("asked", "Where is it?").choices[0].message.content == ANSWER
    with pytest.raises(openai.BadRequestError, match="The guard refused this request"):
        around.ask("asked", "Where is poison?")
    around.upstream.text = "Drink the poison now."
    with pytest.raises(openai.BadRequestError, match="The guard refused the answer"):
        around.ask("asked", "Where is it?")


@pytest.mark.parametrize(("guardrail", "read"), [("asked", True), ("buffered", False)])
def test_a_streamed_answer_is_read_before_it_is_blocked_unless_the_gateway_buffers(
    around: Around, guardrail: str, read: bool
) -> None:
    assert said_in(list(around.ask(guardrail, "Where is it?", stream=True))) == "Thisisananswer."
    around.upstream.text = "Drink the poison now."
    chunks, error = until_error(lambda: around.ask(guardrail, "Where is it?", stream=True))
    assert "The guard refused the answer" in error
    assert ("poison" in said_in(chunks)) == read


def until_error(ask: Callable[[], Iterable[Any]]) -> tuple[list[Any], str]:
    """The chunks of a stream, and the error that ends it, or stands in its place."""
    chunks = []
    try:
        for chunk in ask():
            chunks.append(chunk)
    except openai.APIError as error:
        return chunks, str(error)
    return chunks, ""
