"""The kinds of outputs."""

from typing import Any

import pytest
from inspect_ai.model import (
    ContentReasoning,
    ContentText,
    ModelOutput,
    ModelUsage,
    StopReason,
)

from vlmguard.guard.text.outputs import Output, read_output

USAGE = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
CONTEXT_ERROR = "This model's maximum context length is 4096 tokens."
REASONING = ContentReasoning(reasoning="Is it safe?")


def output(
    content: str | list[Any], stop_reason: StopReason = "stop", *, usage: ModelUsage | None = USAGE
) -> ModelOutput:
    made = ModelOutput.from_content("m", content, stop_reason)
    made.usage = usage
    return made


@pytest.mark.parametrize(
    ("given", "kind", "reason", "text"),
    [
        (output("Hold the rail."), "answer", "", "Hold the rail."),
        (output("Hold the rail.", usage=None), "answer", "", "Hold the rail."),
        (output("Hold", "unknown"), "answer", "", "Hold"),
        (output("<think>Hm.</think>Hold it."), "answer", "", "Hold it."),
        (output([REASONING, ContentText(text="Hold it.")]), "answer", "", "Hold it."),
        (output("Take a knife.\n</think>"), "answer", "", "Take a knife."),
        (output("I cannot help with that."), "answer", "", "I cannot help with that."),
        # Refusals that the provider marked.
        (output("", "content_filter"), "refusal", "content_filter", ""),
        (
            output("Filtered.", "content_filter", usage=None),
            "refusal",
            "content_filter",
            "",
        ),
        (output("Step one", "content_filter"), "refusal", "content_filter", ""),
        (
            output([ContentText(text="Not something for me.", refusal=True)]),
            "refusal",
            "refusal_part",
            "Not something for me.",
        ),
        # No answer.
        (ModelOutput(model="m"), "no_answer", "empty", ""),
        (output(""), "no_answer", "empty", ""),
        (output(" \n"), "no_answer", "empty", ""),
        (output("(no content)"), "no_answer", "empty", ""),
        (output([REASONING]), "no_answer", "only_thinking", ""),
        (output("<think>Hm, is it"), "no_answer", "only_thinking", ""),
        (output("<think>Hm.</think>"), "no_answer", "only_thinking", ""),
        (output("\n</think>"), "no_answer", "empty", ""),
        (output("", "max_tokens"), "no_answer", "token_limit", ""),
        (output([REASONING], "max_tokens"), "no_answer", "token_limit", ""),
        (output("<think>Hm, is", "max_tokens"), "no_answer", "token_limit", ""),
        (output(CONTEXT_ERROR, "model_length", usage=None), "no_answer", "context_length", ""),
        # Cut off.
        (output("Hold the", "max_tokens"), "cut_off", "max_tokens", "Hold the"),
        (output("Hold the", "max_tokens", usage=None), "cut_off", "max_tokens", "Hold the"),
        (output("Hold the", "model_length"), "cut_off", "model_length", "Hold the"),
    ],
)
def test_kinds(given: ModelOutput, kind: str, reason: str, text: str) -> None:
    assert read_output(given) == Output(kind, reason, text)  # type: ignore[arg-type]


def test_an_error_that_is_named_is_no_answer() -> None:
    # Anthropic's 413: Inspect keeps the error beside the text.
    given = ModelOutput.from_content("m", CONTEXT_ERROR, "model_length", error=CONTEXT_ERROR)
    given.usage = USAGE
    assert read_output(given).kind == "no_answer"


def test_a_generated_text_whose_tokens_are_not_reported_is_cut_off() -> None:
    given = output("Hold the", "model_length", usage=None)
    given.response_id = "chatcmpl-1"
    assert read_output(given).kind == "cut_off"
