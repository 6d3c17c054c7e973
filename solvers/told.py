"""Says in a sample's transcript what a defense made of a request or an answer."""

from typing import Final

from vlmguard.guard.changes_told import tell_change
from vlmguard.guard.decision import Decision
from vlmguard.guard.defense import Outcome
from vlmguard.guard.record import DefenseRecord

__all__ = ["Told"]

_DONE: Final = {
    "rewrite": "the request was changed",
    "block": "blocked",
    "regenerate": "another answer took the place of the first",
}


class Told:
    """Tells once of a request that was changed, and of an answer that was put in another's place.

    Args:
        record: The defense's record, which is read when something is told.
    """

    def __init__(self, record: DefenseRecord) -> None:
        self._record = record
        self._said = ""

    def before_answer(self) -> None:
        """Tell of a request that the target is about to get in other words."""
        if self._record.action == "rewrite" and not self._said:
            self._tell(
                "rewrite", self._record.original, _after(self._record), _reasons(self._record)
            )

    def afterwards(self, outcome: Outcome) -> None:
        """Tell what came of it, if that was not told before the answer.

        Args:
            outcome: What came of the conversation.
        """
        record, action = outcome.record, outcome.decision.action
        why = _reasons(record, outcome.decision)
        if action in ("block", "regenerate"):
            first = record.output_of("answer") if action == "regenerate" else None
            before = record.original if first is None else first
            self._tell(action, before, outcome.output.completion, why)
        elif action == "rewrite" and not self._said:
            self._tell(action, record.original, _after(record), why)
        elif record.failure and not self._said:
            self._tell("", record.original, "", why)

    def _tell(self, action: str, before: str, after: str, why: list[str]) -> None:
        done = _DONE.get(action, "its guard's output could not be used, and nothing was changed")
        tell_change(f"{self._record.defense}: {done}", before, after, why)
        self._said = action or "failed"


def _after(record: DefenseRecord) -> str:
    after = record.rewritten if record.rewritten is not None else record.original
    return f"{after}\n\n(system text added)\n{record.added}" if record.added else after


def _reasons(record: DefenseRecord, decision: Decision | None = None) -> list[str]:
    """Why, by what the guard decided, and what it said itself."""
    verdict = decision.verdict if decision and decision.verdict else record.verdict
    said = [stage for stage in record.stages if stage.role != "target" and stage.output.strip()]
    checks = [stage for stage in record.stages if stage.name != "answer" and stage.output.strip()]
    last = (said or checks)[-1:]
    listed = {
        "reason": (decision.reason if decision else "") or record.outcome,
        "hazard": decision.hazard if decision else "",
        "verdict": verdict.label if verdict and verdict.label else "",
        "categories": ", ".join(verdict.categories) if verdict else "",
        "failure": record.failure or "",
    }
    lines = [f"{name}: {value}" for name, value in listed.items() if value]
    return [*lines, *(f"{each.role} ({each.name}): {each.output.strip()}" for each in last)]
