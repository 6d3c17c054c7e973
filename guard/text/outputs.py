"""What a model's output is: an answer, a refusal that the provider marked, none, or a part.

The one place that decides it, for solvers, scorers, records and tables. Inspect turns some errors
of an API into outputs: `stop_reason` is then `model_length` (the request is longer than the
context) or `content_filter`, and the text is the error's. Such an output differs from a generated
one in that it was not billed: it has neither token usage nor a response id, or names an `error`.
"""

from dataclasses import dataclass
from typing import Final, Literal

from inspect_ai.model import Content, ContentText, ModelOutput

from vlmguard.guard.text.thinking import split_thinking

__all__ = ["Output", "read_output"]

OutputKind = Literal["answer", "refusal", "no_answer", "cut_off"]
"""Only `answer` and `cut_off` hold text of the model to read."""

# What Inspect puts where Gemini sends no candidate.
_PLACEHOLDER: Final = "(no content)"


@dataclass(frozen=True)
class Output:
    """What a model's output is.

    Attributes:
        kind: An `answer`; a `refusal` that the provider marked as one; `no_answer`; or an answer
            that was `cut_off`.
        reason: Empty for an answer. For a refusal `content_filter` or `refusal_part`. For no
            answer `empty`, `only_thinking`, `token_limit` (reached before the answer began) or
            `context_length` (the request left no room in the context; an error of the API, as a
            rule). For a cut-off answer `max_tokens` or `model_length`.
        text: What the model said, without its thinking; empty for no answer. For a refusal with
            a part of its own (`refusal_part`) its words; for a filter's stop empty, since what
            comes with that is an error's text, or a beginning that was taken back.
    """

    kind: OutputKind
    reason: str
    text: str

    @property
    def is_answer(self) -> bool:
        """Whether there is text of the model to check or to judge."""
        return self.kind in ("answer", "cut_off")

    @property
    def is_too_long(self) -> bool:
        """Whether the model was not even asked, the request being too long."""
        return self.reason == "context_length"


def read_output(output: ModelOutput) -> Output:
    """Tell what an output is.

    A filter may stop an answer midway; what was let through until then does not count, the
    provider took it back.

    Args:
        output: What a model call gave.

    Returns:
        Its kind, the reason, and its text.
    """
    if not output.choices:
        return Output("no_answer", "empty", "")
    thoughts, text = split_thinking(output.completion)
    if output.stop_reason == "content_filter":
        return Output("refusal", "content_filter", "")
    if _has_refusal_part(output):
        return Output("refusal", "refusal_part", text)
    if output.stop_reason == "model_length" and not _is_generated(output):
        return Output("no_answer", "context_length", "")
    stopped = output.stop_reason in ("max_tokens", "model_length")
    if not text.strip() or text == _PLACEHOLDER:
        if stopped:
            full = output.stop_reason == "model_length"
            return Output("no_answer", "context_length" if full else "token_limit", "")
        thought = thoughts or any(part.type == "reasoning" for part in _parts(output))
        return Output("no_answer", "only_thinking" if thought else "empty", "")
    return Output("cut_off", output.stop_reason, text) if stopped else Output("answer", "", text)


def _is_generated(output: ModelOutput) -> bool:
    return output.error is None and (output.usage is not None or output.response_id is not None)


def _has_refusal_part(output: ModelOutput) -> bool:
    return any(isinstance(part, ContentText) and part.refusal for part in _parts(output))


def _parts(output: ModelOutput) -> list[Content]:
    content = output.message.content
    return content if isinstance(content, list) else []
