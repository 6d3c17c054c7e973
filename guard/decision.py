"""What a defense decides about a request or an answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from inspect_ai.model import ChatMessage, GenerateConfig
from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ON_FAILURE", "Action", "Decision", "OnFailure", "Verdict"]

Action = Literal["pass", "rewrite", "block", "regenerate"]
"""`pass` on unchanged, `rewrite` the request, `block` it with a fixed refusal, or `regenerate` the
answer.
"""

OnFailure = Literal["original", "refuse", "raise"]

ON_FAILURE: Final = ("original", "refuse", "raise")
"""What may happen if a guard's output cannot be used: go on with the `original` request or answer,
`refuse` the request, or `raise` an error.
"""


class Verdict(BaseModel):
    """The verdict of a guard model, a classifier or a self-check.

    Attributes:
        raw: Its whole output.
        label: `safe` or `unsafe`; None if the output says neither, which is an error and counts as
            neither.
        categories: The hazards that it names, in its own terms.
        score: How unsafe, 0 to 1, if it says so.
    """

    model_config = ConfigDict(frozen=True)

    raw: str
    label: Literal["safe", "unsafe"] | None
    categories: tuple[str, ...] = ()
    score: float | None = Field(default=None, ge=0, le=1)

    @property
    def parsed(self) -> bool:
        """Whether the output could be read."""
        return self.label is not None


@dataclass(frozen=True)
class Decision:
    """What becomes of a request.

    Attributes:
        action: What is done.
        request: Text of the last user turn as the target gets it; empty if it is blocked.
        reason: Why, in one or two words: `copied` or `rewritten` (by a rewriter), `gated` (found
            safe by a gate), `flagged`, `routed` (by a policy), a failure (`no_verdict`), or why
            nothing was looked at (`tool_turn`).
        hazard: What could go wrong, in the guard's words; empty if it names no hazard.
        verdict: A guard's verdict, if one was given.
        failure: Why the guard's output could not be used; empty if it could.
        messages: What the target gets; empty if the request is blocked, and for a `Rewriter` alone,
            which knows no conversation.
        settings: Settings of the answer that belong to these messages; None for those of the
            request.
    """

    action: Action
    request: str
    reason: str = ""
    hazard: str = ""
    verdict: Verdict | None = None
    failure: str = ""
    messages: Sequence[ChatMessage] = field(default=(), repr=False)
    settings: GenerateConfig | None = None

    @property
    def flags(self) -> bool:
        """Whether it finds harm.

        Whatever is not passed on as it is, but for a defense that changes harmless requests too
        (`sia`, `policy_route`, `adashield`): there a verdict of `safe` says that nothing was found.
        One by a threshold may say so of what is `flagged`.
        """
        found_none = self.verdict is not None and self.verdict.label == "safe"
        changed_anyway = self.action == "rewrite" and found_none and self.reason != "flagged"
        return self.action != "pass" and not changed_anyway
