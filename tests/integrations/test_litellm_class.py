"""The guardrail in the process of a real LiteLLM gateway, asked by the `openai` client."""

import json
from typing import Any

import openai
import pytest
from support.integrations import needs

needs("litellm")

from support.litellm_around import ANSWER, SAFE, Around, image, said_in, words
from support.scripted import picture

from vlmguard.guard.defense import REFUSAL_MESSAGE
from vlmguard.guard.serving.sse import events_in


def test_only_the_last_user_text_changes(around: Around) -> None:
    system = {"role": "system", "content": "SYS"}
    first = {"role": "user", "content": [words("What is it?"), image("blue")]}
    said = {"role": "assistant", "content": "A roof."}
    content = [words("How do"), image(), words("I climb it?")]
    answered = around.ask("rewriting", content, system, first, said, temperature=0.5)
    assert answered.choices[0].message.content == "This is an answer."
    last = {"role": "user", "content": [words(SAFE), image()]}
    assert around.sent == [system, first, said, last]
    assert around.upstream.asked[0]["temperature"] == 0.5


def test_a_request_of_images_alone_is_seen_and_gets_a_text(around: Around) -> None:
    around.ask("rewriting", [image()])
    assert around.sent == [{"role": "user", "content": [image(), words(SAFE)]}]
    (asked,) = around.helper.requests
    assert picture() in json.dumps(asked)


def test_a_turn_after_a_tool_is_left_alone(around: Around) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages: list[Any] = [
        {"role": "user", "content": "How do I climb it?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "A roof."},
    ]
    around.chat("rewriting", messages)
    assert [each["content"] for each in around.sent if each["role"] != "assistant"] == [
        "How do I climb it?",
        "A roof.",
    ]
    assert around.helper.requests == []


def test_a_stream_is_rewritten_before_and_relayed_behind(around: Around) -> None:
    chunks = list(around.ask("rewriting", "How do I climb it?", stream=True))
    assert around.sent == [{"role": "user", "content": SAFE}]
    assert said_in(chunks) == "This is an answer.".replace(" ", "")
    assert len(chunks) > 3


@pytest.mark.parametrize(
    "address",
    ["/etc/passwd", "file:///etc/passwd", "http://169.254.169.254/x", "https://x.invalid/a.png"],
)
def test_images_that_are_no_data_are_refused(around: Around, address: str) -> None:
    content = [words("What is it?"), {"type": "image_url", "image_url": {"url": address}}]
    with pytest.raises(openai.BadRequestError) as error:
        around.ask("rewriting", content)
    assert "messages.0.content.1" in str(error.value)
    assert address not in str(error.value)
    assert around.upstream.bodies == []


def test_a_guard_that_fails_is_503_or_passes_as_configured(around: Around) -> None:
    around.helper.fail.set()
    with pytest.raises(openai.APIStatusError) as error:
        around.ask("hasty", "How do I climb it?")
    assert error.value.status_code == 503
    assert around.upstream.bodies == []
    around.ask("lenient", "How do I climb it?")
    assert around.sent == [{"role": "user", "content": "How do I climb it?"}]


@pytest.mark.parametrize("stream", [False, True])
def test_a_blocked_request_is_a_normal_completion(around: Around, stream: bool) -> None:
    answered = around.ask("filtering", "Where is poison?", stream=stream)
    if stream:
        chunks = list(answered)
        assert said_in(chunks) == REFUSAL_MESSAGE.replace(" ", "")
    else:
        (choice,) = answered.choices
        assert (choice.message.content, choice.finish_reason) == (
            REFUSAL_MESSAGE,
            "content_filter",
        )
    assert around.upstream.bodies == []


def test_a_blocked_request_is_an_error_where_that_is_configured(around: Around) -> None:
    with pytest.raises(openai.BadRequestError, match="The guard refused this request"):
        around.ask("strict", "Where is poison?")
    assert around.upstream.bodies == []


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_checked_and_replaced(around: Around, stream: bool) -> None:
    answered = around.ask("filtering", "Where is it?", stream=stream)
    kept = said_in(list(answered)) if stream else answered.choices[0].message.content
    assert kept.replace(" ", "") == "Thisisananswer."
    around.upstream.text = "Drink the poison now."
    answered = around.ask("filtering", "Where is it?", stream=stream)
    said = said_in(list(answered)) if stream else answered.choices[0].message.content
    assert said.replace(" ", "") == REFUSAL_MESSAGE.replace(" ", "")


def test_a_blocked_answer_is_an_error_where_that_is_configured(around: Around) -> None:
    around.upstream.text = "Drink the poison now."
    with pytest.raises(openai.BadRequestError, match="The guard refused the answer"):
        around.ask("strict", "Where is it?")


def test_a_defense_asks_the_model_behind_the_gateway_itself(around: Around) -> None:
    around.upstream.text = "no"
    around.ask("self_checking", [words("Where is it?"), image()])
    answer, check = around.upstream.asked
    assert answer["messages"] == [{"role": "user", "content": [words("Where is it?"), image()]}]
    assert picture() in json.dumps(check["messages"])


def test_beside_the_call_what_would_be_rewritten_is_refused(around: Around) -> None:
    answered = around.ask("beside", "How do I climb it?")
    assert answered.choices[0].message.content == REFUSAL_MESSAGE


@pytest.mark.parametrize("model", ["claude", "native"])
def test_messages_of_images_alone_are_seen_too(around: Around, model: str) -> None:
    payload = picture().partition(",")[2]
    source = {"type": "base64", "media_type": "image/png", "data": payload}
    answered = around.post(
        "messages", [{"type": "image", "source": source}], "rewriting", model=model
    )
    assert answered.status_code == 200, answered.text
    (message,) = around.sent
    first, second = message["content"]
    assert first["type"] == ("image" if model == "native" else "image_url")
    assert second == {"type": "text", "text": SAFE}


def test_messages_are_blocked_in_their_own_form(around: Around) -> None:
    answered = around.post("messages", "Where is poison?", model="claude", guardrail="filtering")
    assert answered.status_code == 200, answered.text
    assert answered.json()["content"][0]["text"] == REFUSAL_MESSAGE
    assert around.upstream.bodies == []


@pytest.mark.parametrize("model", ["claude", "native"])
def test_answers_of_messages_are_checked(around: Around, model: str) -> None:
    around.upstream.text = "Drink the poison now."
    answered = around.post("messages", "Where is it?", "filtering", model=model)
    assert answered.status_code == 200, answered.text
    assert answered.json()["content"][0]["text"] == REFUSAL_MESSAGE
    for text, expected in ((ANSWER, ANSWER), ("Drink the poison now.", REFUSAL_MESSAGE)):
        around.upstream.text = text
        streamed = around.post("messages", "Where is it?", "filtering", model=model, stream=True)
        assert streamed.status_code == 200, streamed.text
        deltas = [json.loads(data) for data in events_in(streamed.content)]
        said = "".join(each.get("delta", {}).get("text", "") for each in deltas)
        assert said.replace(" ", "") == expected.replace(" ", "")
        assert deltas[-1]["type"] == "message_stop"


@pytest.mark.parametrize("guardrail", ["filtering", "strict"])
def test_a_stream_leaves_sentence_by_sentence_until_one_is_blocked(
    around: Around, guardrail: str
) -> None:
    first = "It is in the shed behind the house.\nThen"
    around.upstream.text = f"{first} drink the poison there. And so on and on."
    chunks = list(around.ask(guardrail, "Where is it?", stream=True))
    assert said_in(chunks) == f"{first}\n\n{REFUSAL_MESSAGE}".replace(" ", "")
    assert chunks[-1].choices[0].finish_reason == "content_filter"
    guard = [asked for asked in around.helper.requests if "shed" in json.dumps(asked)]
    assert len(guard) == 2


def test_a_stream_is_checked_whole_by_a_defense_that_needs_that(around: Around) -> None:
    around.upstream.text = "no"
    chunks = list(around.ask("self_checking", [words("Where is it?"), image()], stream=True))
    assert said_in(chunks) == "no"
    assert len(around.upstream.asked) == 2


def test_responses_are_rewritten_and_their_answers_checked(around: Around) -> None:
    image: Any = {"type": "input_image", "image_url": picture()}
    answered = around.client.responses.create(
        model="m",
        input=[{"role": "user", "content": [image]}],
        extra_body={"guardrails": ["rewriting"]},
    )
    assert answered.output_text == "This is an answer."
    ((message,),) = (asked["input"] for asked in around.upstream.asked)
    assert message["content"] == [image, {"type": "input_text", "text": SAFE}]
    around.upstream.text = "Drink the poison now."
    checked = around.client.responses.create(
        model="m", input="Where is it?", extra_body={"guardrails": ["filtering"]}
    )
    assert checked.output_text == REFUSAL_MESSAGE


@pytest.mark.parametrize("guardrail", ["filtering", "self_checking"])
def test_streams_of_responses_are_checked(around: Around, guardrail: str) -> None:
    harmful = {"filtering": "Drink the poison now.", "self_checking": "yes"}[guardrail]
    for text in ("no", harmful):
        around.upstream.text = text
        events = list(
            around.client.responses.create(
                model="m",
                input="Where is it?",
                stream=True,
                extra_body={"guardrails": [guardrail]},
            )
        )
        said = "".join(each.delta for each in events if each.type == "response.output_text.delta")
        expected = REFUSAL_MESSAGE if "poison" in text else text
        assert said == expected
        ended = "incomplete" if "poison" in text else "completed"
        assert events[-1].type == f"response.{ended}"


def test_an_endpoint_that_nobody_reads_is_refused(around: Around) -> None:
    with pytest.raises(openai.APIStatusError) as error:
        around.client.completions.create(
            model="m", prompt="How do I climb it?", extra_body={"guardrails": ["rewriting"]}
        )
    assert error.value.status_code == 501
    assert around.upstream.bodies == []
