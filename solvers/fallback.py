"""Handles unusable replies of auxiliary models."""

from typing import Final

from inspect_ai.model import ModelOutput
from inspect_ai.solver import TaskState

from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.rewriter.decision import ON_FAILURE
from vlmguard.solvers.turn import replace_answer

__all__ = ["ON_FAILURE", "UnusableReply", "fall_back", "refusal"]

REFUSAL_MESSAGE: Final = "I'm sorry, but I can't help with this request."


class UnusableReply(Exception):
    """An auxiliary model's reply that is not in the requested form.

    Args:
        reason: The fault, in one or two words (`no_grade`).
        reply: The reply.
    """

    def __init__(self, reason: str, reply: str) -> None:
        super().__init__(f"{reason}: {reply[:200]!r}")
        self.reason = reason


def refusal(state: TaskState) -> ModelOutput:
    """Our fixed refusal, as if the target had said it."""
    return ModelOutput.from_content(state.model.name, REFUSAL_MESSAGE)


def fall_back(
    state: TaskState, record: DefenseRecord, on_failure: str, unusable: UnusableReply
) -> None:
    """Continue without the auxiliary model, as the user chose.

    Args:
        state: The state, with the target's answer.
        record: Where the failure is noted.
        on_failure: `original` keeps the target's answer, `refuse` replaces it, `raise` fails.
        unusable: The unusable reply.

    Raises:
        RuntimeError: With `raise`.
    """
    record.failure = unusable.reason
    if on_failure == "raise":
        raise RuntimeError(f"Sample {state.sample_id}: {unusable}") from unusable
    if on_failure == "refuse":
        replace_answer(state, refusal(state))
