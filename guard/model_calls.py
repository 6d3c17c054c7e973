"""The model calls of the sample that is scored, from its transcript."""

from dataclasses import dataclass, field

from inspect_ai.event import InfoEvent, ModelEvent, SpanBeginEvent
from inspect_ai.log import transcript
from inspect_ai.model import ModelOutput

__all__ = ["TOLD_BY", "Called", "calls_before_scoring"]

TOLD_BY = "vlmguard"
"""Source of the events in which a guarded model says what it did."""


@dataclass
class Called:
    """Calls of the evaluated model.

    Attributes:
        outputs: Their outputs, in order; those that Inspect's cache gave are among them.
        told: Calls of a guarded model that ran, failed ones too.
    """

    outputs: list[ModelOutput] = field(default_factory=list)
    told: int = 0


def calls_before_scoring() -> Called:
    """The calls of this sample without those of roles and scorers; none outside of a sample."""
    called = Called()
    if not transcript().history.full_history_available:
        return called
    for event in transcript().events:
        if isinstance(event, SpanBeginEvent) and event.name == "scorers":
            break
        if isinstance(event, InfoEvent) and event.source == TOLD_BY:
            called.told += 1
        if not isinstance(event, ModelEvent) or event.error or event.pending:
            continue
        if event.role in (None, "target") and event.output.choices:
            called.outputs.append(event.output)
    return called
