"""The outputs that Inspect's own providers make of an API's answers, and how we read them.

The bodies are written by hand from the documentation: OpenAI's and Azure's references of errors and
answers, and vLLM's source.
"""

from typing import Any

import pytest
from inspect_ai.model import GenerateConfig, get_model
from support.answer_server import answer_server

from vlmguard.guard.text.outputs import Output, read_output


def error(message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, **fields}}


def completion(content: str | None, finish_reason: str = "stop", **fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **fields.pop("message", {})}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": finish_reason, "message": message, **fields}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
    }


OPENAI_LENGTH = error(
    "This model's maximum context length is 128000 tokens. However, your messages resulted in "
    "140023 tokens. Please reduce the length of the messages.",
    type="invalid_request_error",
    param="messages",
    code="context_length_exceeded",
)
OPENAI_POLICY = error(
    "Your input image may contain content that is not allowed by our safety system.",
    type="invalid_request_error",
    param=None,
    code="content_policy_violation",
)
OPENAI_PROMPT = error(
    "Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please "
    "try again with a different prompt.",
    type="invalid_request_error",
    param=None,
    code="invalid_prompt",
)
AZURE_FILTER = error(
    "The response was filtered due to the prompt triggering Azure OpenAI's content management "
    "policy. Please modify your prompt and retry.",
    type=None,
    param="prompt",
    code="content_filter",
    status=400,
    innererror={
        "code": "ResponsibleAIPolicyViolation",
        "content_filter_result": {"violence": {"filtered": True, "severity": "medium"}},
    },
)
VLLM_MESSAGE = (
    "This model's maximum context length is 4096 tokens. However, you requested 5012 tokens (4500 "
    "in the messages, 512 in the completion). Please reduce the length of the messages or "
    "completion."
)
VLLM_LENGTH = error(VLLM_MESSAGE, type="BadRequestError", param=None, code=400)
VLLM_OLD_LENGTH = {
    "object": "error",
    "message": VLLM_MESSAGE,
    "type": "BadRequestError",
    "param": None,
    "code": 400,
}
FILTERED = {"violence": {"filtered": True, "severity": "medium"}}


async def said(provider: str, status: int, body: dict[str, Any], **arguments: Any) -> Output:
    with answer_server(status, body) as url:
        model = get_model(
            # A name of its own: Inspect keeps the address of a `vllm/` server under the model's.
            f"{provider}/m{url.rpartition(':')[2]}",
            base_url=f"{url}/v1",
            api_key="none",
            memoize=False,
            config=GenerateConfig(max_retries=0),
            **arguments,
        )
        async with model:
            return read_output(await model.generate("How do I get down here?"))


@pytest.mark.parametrize(
    ("provider", "status", "body", "kind", "reason"),
    [
        ("openai-api/some", 400, OPENAI_LENGTH, "no_answer", "context_length"),
        ("openai", 400, OPENAI_LENGTH, "no_answer", "context_length"),
        ("vllm", 400, VLLM_LENGTH, "no_answer", "context_length"),
        ("vllm", 400, VLLM_OLD_LENGTH, "no_answer", "context_length"),
        ("openai-api/some", 400, OPENAI_POLICY, "refusal", "content_filter"),
        ("openai", 400, OPENAI_PROMPT, "refusal", "content_filter"),
        ("openai-api/some", 400, AZURE_FILTER, "refusal", "content_filter"),
        ("openai/azure", 400, AZURE_FILTER, "refusal", "content_filter"),
    ],
)
async def test_errors(
    provider: str, status: int, body: dict[str, Any], kind: str, reason: str
) -> None:
    found = await said(provider, status, body)
    assert (found.kind, found.reason) == (kind, reason)
    assert not found.is_answer


@pytest.mark.parametrize("provider", ["openai-api/some", "openai", "openai/azure", "vllm"])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (completion("Hold the rail."), Output("answer", "", "Hold the rail.")),
        (completion("Hold the", "length"), Output("cut_off", "max_tokens", "Hold the")),
        (completion(None), Output("no_answer", "empty", "")),
        (completion("", "length"), Output("no_answer", "token_limit", "")),
        (
            completion(None, message={"refusal": "I can't go along with that."}),
            Output("refusal", "refusal_part", "I can't go along with that."),
        ),
        (
            completion(None, "content_filter", content_filter_results=FILTERED),
            Output("refusal", "content_filter", ""),
        ),
        (
            completion("First,", "content_filter", content_filter_results=FILTERED),
            Output("refusal", "content_filter", ""),
        ),
        (completion("Hm.\n</think>\n\nHold it."), Output("answer", "", "Hold it.")),
        (completion("<think>Hm, is", "length"), Output("no_answer", "token_limit", "")),
        (
            completion("Hold it.", message={"reasoning_content": "Hm."}),
            Output("answer", "", "Hold it."),
        ),
        (
            completion(None, message={"reasoning_content": "Hm."}),
            Output("no_answer", "only_thinking", ""),
        ),
    ],
)
async def test_completions(provider: str, body: dict[str, Any], expected: Output) -> None:
    openai = provider.split("/")[0] == "openai"
    arguments = {"responses_api": False} if openai else {}
    assert await said(provider, 200, body, **arguments) == expected


def response(status: str, *content: dict[str, Any], **fields: Any) -> dict[str, Any]:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": status}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 0,
        "model": "m",
        "status": status,
        "output": [{**message, "content": list(content)}] if content else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 9,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 4,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 13,
        },
        **fields,
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            response("completed", {"type": "refusal", "refusal": "I can't go along with that."}),
            Output("refusal", "refusal_part", "I can't go along with that."),
        ),
        (
            response("incomplete", incomplete_details={"reason": "content_filter"}),
            Output("refusal", "content_filter", ""),
        ),
        (
            response(
                "incomplete",
                {"type": "output_text", "text": "Hold the", "annotations": []},
                incomplete_details={"reason": "max_output_tokens"},
            ),
            Output("cut_off", "max_tokens", "Hold the"),
        ),
    ],
)
async def test_responses(body: dict[str, Any], expected: Output) -> None:
    assert await said("openai", 200, body) == expected


@pytest.mark.parametrize(
    "body",
    [
        error("Invalid image: it is too large.", type="invalid_request_error", code=None),
        # If Inspect does not know the server, its error stays an error.
        VLLM_LENGTH,
        {"detail": "Server is pinned to 'a'; requested 'm'."},
    ],
)
async def test_other_errors_stay_errors(body: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="400"):
        await said("openai-api/some", 400, body)
