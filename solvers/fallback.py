"""Handles unusable replies of auxiliary models."""

from inspect_ai.model import ModelOutput
from inspect_ai.solver import TaskState

from vlmguard.guard.decision import ON_FAILURE
from vlmguard.guard.defense import UnusableReply
from vlmguard.guard.defense.refusal import refusal as blocked
from vlmguard.guard.record import DefenseRecord
from vlmguard.solvers.turn import replace_answer

__all__ = ["ON_FAILURE", "UnusableReply", "fall_back", "refusal"]


def refusal(state: TaskState) -> ModelOutput:
    """Our fixed refusal, as if the target had said it."""
    return blocked(state.model.name)


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
