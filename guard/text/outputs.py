"""Says what a model's output is: an answer, a marked refusal, no answer, or a part of one.

A refusal may be marked by the provider, or by the defense that blocked the request. Solvers,
scorers, records and tables all use this rule. Inspect turns some errors of an API into outputs:
`stop_reason` is then `model_length` (the request is longer than the context) or `content_filter`,
and the text is the error's. Such an output was not billed, so it has neither token usage nor a
response id, or it names an `error`. Where a model around another counts no tokens of its own
(`guarded/`), it marks in the metadata that its output was billed (`GENERATED`).
"""

from dataclasses import dataclass
from typing import Final, Literal

from inspect_ai.model import ContentText, ModelOutput

from vlmguard.guard.messages import parts_of
from vlmguard.guard.text.blocks import BLOCKED, is_block
from vlmguard.guard.text.thinking import split_thinking

__all__ = ["GENERATED", "Output", "read_output"]

OutputKind = Literal["answer", "refusal", "no_answer", "cut_off"]
"""Only `answer` and `cut_off` hold text of the model to read."""

GENERATED: Final = "generated"
"""The key in the metadata of an output that a model generated, though it has no usage."""

# What Inspect puts where Gemini sends no candidate.
_PLACEHOLDER: Final = "(no content)"


@dataclass(frozen=True)
class Output:
    """The kind of a model's output, the reason for it, and the text.

    Attributes:
        kind: An `answer`; a `refusal` that the provider or a defense marked as one; `no_answer`; or
            an answer that was `cut_off`.
        reason: Empty for an answer. For a refusal `content_filter` or `refusal_part`, or
            `blocked_by_defense` if a defense wrote it. For no answer `empty`, `only_thinking`,
            `token_limit` (reached before the answer began) or `context_length` (the request left no
            room in the context; usually an error of the API). For a cut-off answer `max_tokens` or
            `model_length`.
        text: What the model said, without its thinking; empty for no answer. The words of a refusal
            that has a part of its own (`refusal_part`), and of a defense's refusal. Empty where a
            filter stopped the answer, since the text is then an error's, or a beginning that the
            provider took back.
    """

    kind: OutputKind
    reason: str
    text: str

    @property
    def is_answer(self) -> bool:
        """Whether the output has text to check or to judge."""
        return self.kind in ("answer", "cut_off")

    @property
    def is_blocked(self) -> bool:
        """Whether a defense refused, and not the model."""
        return self.reason == BLOCKED

    @property
    def is_too_long(self) -> bool:
        """Whether the request was too long, so that the model was not asked."""
        return self.reason == "context_length"


def read_output(output: ModelOutput) -> Output:
    """Tell what an output is.

    A filter may stop an answer midway. The part before the stop does not count, since the provider
    took it back.
    """
    if not output.choices:
        return Output("no_answer", "empty", "")
    thoughts, text = split_thinking(output.completion)
    if is_block(output):
        return Output("refusal", BLOCKED, text)
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
        thought = thoughts or any(part.type == "reasoning" for part in parts_of(output.message))
        return Output("no_answer", "only_thinking" if thought else "empty", "")
    return Output("cut_off", output.stop_reason, text) if stopped else Output("answer", "", text)


def _is_generated(output: ModelOutput) -> bool:
    billed = output.usage is not None or output.response_id is not None
    return output.error is None and (billed or GENERATED in (output.metadata or {}))


def _has_refusal_part(output: ModelOutput) -> bool:
    parts = parts_of(output.message)
    return any(isinstance(part, ContentText) and part.refusal for part in parts)
