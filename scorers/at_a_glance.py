"""What Inspect View lists beside an answer: its category, and what the defense made of the request.

Inspect View lists scores of samples, and nothing of their metadata. So the two stand in a score,
which has no metrics and no numbers: tables never read it. Without a defense it has no `rewritten`.
"""

from typing import Final

from inspect_ai.scorer import Score, Scorer, Target, scorer
from inspect_ai.solver import TaskState

from vlmguard.guard.cards import GLANCED
from vlmguard.guard.record import DefenseRecord

__all__ = ["CATEGORY", "REWRITTEN", "at_a_glance"]

CATEGORY: Final = "category"
REWRITTEN: Final = "rewritten"
_LONGEST: Final = 300
"""Characters that are shown: a list of samples is read for every table."""


@scorer(metrics=[], name=GLANCED)
def at_a_glance() -> Scorer:
    """The sample's category, and what the target got in the place of the request."""

    async def score(state: TaskState, target: Target) -> Score:
        record = DefenseRecord.of(state)
        value = {CATEGORY: _line(str(state.metadata.get("category") or ""))}
        if record.defense != "none":
            value[REWRITTEN] = _line(_made_of(record))
        return Score(value={**value}, answer=state.output.completion)

    return score


def _made_of(record: DefenseRecord) -> str:
    if record.action == "block":
        return "(blocked)"
    if record.action == "regenerate":
        return "(answered anew)"
    if record.rewritten is not None and record.rewritten != record.original:
        return record.rewritten
    if record.added:
        return "(text added)"
    return f"({record.failure})" if record.failure else ""


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
