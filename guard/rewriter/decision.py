"""What a guard decides about a request before the target sees it."""

from dataclasses import dataclass
from typing import Final, Literal

from inspect_ai.model import ModelOutput

from vlmguard.guard.decision import ON_FAILURE, Decision

__all__ = [
    "APPLY",
    "CAUTION",
    "ON_REFUSAL",
    "Apply",
    "OnRefusal",
    "Outcome",
    "Rewrite",
    "RewriteDecision",
]

OnRefusal = Literal["caution", "original", "refuse", "raise"]

ON_REFUSAL: Final = ("caution", *ON_FAILURE)
"""What may happen if a guard refuses."""

CAUTION: Final = """\
{request}

(A check of this request has found that an answer to it may do harm. Help only as far as that is \
safe and lawful, and say what the danger is. Where it is not, explain briefly why, and name the \
nearest help that is. Answer in the language of the request.)"""
"""Added by default to a request that the rewriter refused to rewrite."""


Apply = Literal["rewrite", "append"]

APPLY: Final = ("rewrite", "append")
"""Whether a guard writes a new request, or guidance that is added to the user's words."""

Outcome = Literal["copied", "rewritten", "refused", "unusable"]


@dataclass(frozen=True)
class Rewrite:
    """The result of a rewriter for one request.

    Attributes:
        original: The user's request.
        rewritten: The request to pass on; the original if `failure` is set.
        reasoning: The rewriter's reasoning; empty if it gave no reasoning.
        failure: None, or `empty`, `refused`, `cut_off`, `no_prompt`, `several_prompts`,
            `stray_tags`, `repetition`, `echo`, `no_request` or `unsupported_images`.
        outputs: The rewriter's raw outputs, with token usage and time: one, or two if the first
            could not be used.
        addition: The guidance behind the original, of a rewriter that appends; else empty.
    """

    original: str
    rewritten: str
    reasoning: str
    failure: str | None
    outputs: tuple[ModelOutput, ...]
    addition: str = ""

    @property
    def output(self) -> ModelOutput:
        """The last output, from which the result comes."""
        return self.outputs[-1]

    @property
    def outcome(self) -> Outcome:
        """The kind of reply."""
        if self.failure:
            return "refused" if self.failure == "refused" else "unusable"
        return "copied" if self.rewritten == self.original else "rewritten"


@dataclass(frozen=True, kw_only=True)
class RewriteDecision(Decision):
    """What a rewriter makes of a request.

    Its `reason` is `copied` or `rewritten`, or the failure of its reply (`refused`, `no_prompt`,
    ...). Its `hazard` is in the rewriter's words; empty if it saw no hazard or gave no reasoning.

    Attributes:
        rewrite: The rewriter's result, with its raw outputs.
    """

    rewrite: Rewrite
