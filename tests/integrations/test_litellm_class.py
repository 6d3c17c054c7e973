"""The guardrail in the process of a real LiteLLM gateway, asked by the `openai` client."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
from support.integrations import needs

needs("litellm")

from support.litellm_gateway import KEY, gateway, models
from support.openai_server import Server, openai_server
from support.scripted import picture
from support.serving import Answers
from support.threaded import threaded
from support.two_apis import TwoAPIs

from vlmguard.guard.defense import REFUSAL_MESSAGE

SAFE = "How do I climb it safely?"
REWRITTEN = f"<reasoning>A fall.</reasoning><prompt>{SAFE}</prompt>"
CLASS = "vlmguard.integrations.litellm.VLMGuardrail"
GUARDRAILS = f"""
guardrails:
  - guardrail_name: rewriting
    litellm_params:
      guardrail: {CLASS}
      mode: pre_call
      models: {{rewriter: openai-api/scripted/rewriter}}
      on_failure: refuse
  - guardrail_name: hasty
    litellm_params:
      guardrail: {CLASS}
      mode: pre_call
      models: {{rewriter: openai-api/scripted/broken}}
      on_failure: refuse
      timeout: 2
  - guardrail_name: lenient
    litellm_params:
      guardrail: {CLASS}
      mode: pre_call
      models: {{rewriter: openai-api/scripted/broken}}
      on_failure: original
      timeout: 2
  - guardrail_name: filtering
    litellm_params:
      guardrail: {CLASS}
      mode: [pre_call, post_call]
      defense: guard_model
      options: {{adapter: llama_guard, check: both}}
      models: {{guard: openai-api/scripted/guard}}
      on_failure: refuse
  - guardrail_name: strict
    litellm_params:
      guardrail: {CLASS}
      mode: [pre_call, post_call]
      defense: guard_model
      options: {{adapter: llama_guard, check: both}}
      models: {{guard: openai-api/scripted/guard}}
      on_failure: refuse
      block_status: 400
  - guardrail_name: beside
    litellm_params:
      guardrail: {CLASS}
      mode: during_call
      models: {{rewriter: openai-api/scripted/rewriter}}
      on_failure: refuse
  - guardrail_name: self_checking
    litellm_params:
      guardrail: {CLASS}
      mode: [pre_call, post_call]
      defense: ecso
      on_failure: refuse
"""


@dataclass
class Around:
    """A gateway with all guardrails, and what is around it.

    Attributes:
        client: Its client.
        upstream: The model behind it.
        helper: The models that the guard asks.
    """

    client: openai.OpenAI
    upstream: Answers
    helper: Server

    def ask(self, guardrail: str, content: Any, *earlier: dict[str, Any], **more: Any) -> Any:
        messages = [*earlier, {"role": "user", "content": content}]
        body = {"guardrails": [guardrail]}
        return self.client.chat.completions.create(
            model="m", messages=messages, extra_body=body, **more
        )

    @property
    def sent(self) -> list[dict[str, Any]]:
        """The messages of the only request that the upstream got."""
        (asked,) = self.upstream.asked
        messages: list[dict[str, Any]] = asked["messages"]
        return messages


def say(text: str, messages: list[dict[str, Any]]) -> str:
    """A rewriter that always rewrites, and a guard that finds one word."""
    if "<prompt>" in json.dumps(messages):
        return REWRITTEN
    return "unsafe\nS1" if "poison" in text else "safe"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Around]:
    upstream = TwoAPIs("This is an answer.")
    with openai_server(say) as helper, threaded(upstream.app) as address:
        config = models(address) + GUARDRAILS
        folder = tmp_path_factory.mktemp("gateway")
        with gateway(config, folder, helper.environment()) as client:
            yield Around(client, upstream, helper)


@pytest.fixture
def around(running: Around) -> Around:
    running.upstream.bodies.clear()
    running.upstream.text = "This is an answer."
    running.helper.requests.clear()
    return running


def image(colour: str = "red") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": picture(colour)}}


def words(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


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
    around.client.chat.completions.create(
        model="m", messages=messages, extra_body={"guardrails": ["rewriting"]}
    )
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
    try:
        with pytest.raises(openai.APIStatusError) as error:
            around.ask("hasty", "How do I climb it?")
        assert error.value.status_code == 503
        assert around.upstream.bodies == []
        around.ask("lenient", "How do I climb it?")
    finally:
        around.helper.fail.clear()
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


def test_messages_of_images_alone_are_seen_too(around: Around) -> None:
    payload = picture().partition(",")[2]
    source = {"type": "base64", "media_type": "image/png", "data": payload}
    answered = post(around, "messages", [{"type": "image", "source": source}], model="claude")
    assert answered.status_code == 200, answered.text
    (message,) = around.sent
    assert [part["type"] for part in message["content"]] == ["image_url", "text"]
    assert message["content"][1]["text"] == SAFE


def test_messages_are_blocked_in_their_own_form(around: Around) -> None:
    answered = post(around, "messages", "Where is poison?", model="claude", guardrail="filtering")
    assert answered.status_code == 200, answered.text
    assert answered.json()["content"][0]["text"] == REFUSAL_MESSAGE
    assert around.upstream.bodies == []


def test_answers_of_messages_are_checked(around: Around) -> None:
    around.upstream.text = "Drink the poison now."
    answered = post(around, "messages", "Where is it?", model="claude", guardrail="filtering")
    assert answered.status_code == 200, answered.text
    assert answered.json()["content"][0]["text"] == REFUSAL_MESSAGE
    streamed = post(
        around, "messages", "Where is it?", model="claude", guardrail="filtering", stream=True
    )
    assert streamed.status_code == 501, streamed.text


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


def test_an_endpoint_that_nobody_reads_is_refused(around: Around) -> None:
    with pytest.raises(openai.APIStatusError) as error:
        around.client.completions.create(
            model="m", prompt="How do I climb it?", extra_body={"guardrails": ["rewriting"]}
        )
    assert error.value.status_code == 501
    assert around.upstream.bodies == []


def post(
    around: Around, path: str, content: Any, guardrail: str = "rewriting", **more: Any
) -> httpx.Response:
    messages = [{"role": "user", "content": content}]
    body = {"max_tokens": 50, "messages": messages, "guardrails": [guardrail], **more}
    headers = {"authorization": f"Bearer {KEY}"}
    return httpx.post(f"{around.client.base_url}{path}", json=body, headers=headers, timeout=60)


def said_in(chunks: list[Any]) -> str:
    """The text of a stream, without spaces: the upstream's chunks are words."""
    parts = [each.choices[0].delta.content or "" for each in chunks if each.choices]
    return "".join(parts).replace(" ", "")
