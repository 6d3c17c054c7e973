"""The model calls of a sample, from its transcript."""

from dataclasses import dataclass, field

from inspect_ai.event import InfoEvent, ModelEvent, SampleInitEvent, SpanBeginEvent
from inspect_ai.log import EvalSample, transcript
from inspect_ai.model import ModelOutput
from inspect_ai.solver import TaskState

__all__ = ["TOLD_BY", "Called", "calls_before_scoring"]

TOLD_BY = "vlmguard"
"""Source of our events. A guarded model says what it did in a mapping, one for each of its calls;
texts are for people alone."""


@dataclass
class Called:
    """Calls of the evaluated model.

    Attributes:
        outputs: Their outputs, in order; those that Inspect's cache gave are among them.
        told: Calls of a guarded model that ran, failed ones too.
    """

    outputs: list[ModelOutput] = field(default_factory=list)
    told: int = 0


def calls_before_scoring(sample: TaskState | EvalSample) -> Called:
    """The calls of a sample without those of roles and scorers.

    Args:
        sample: The sample, while it runs or is scored, or from its log; of one whose transcript is
            not at hand, no call is found.
    """
    called, ours = Called(), False
    if isinstance(sample, TaskState) and not transcript().history.full_history_available:
        return called
    state_id = sample.sample_id if isinstance(sample, TaskState) else sample.id
    for event in transcript().events if isinstance(sample, TaskState) else sample.events:
        if isinstance(event, SampleInitEvent):
            ours = event.sample.id == state_id
        # Outside of a sample, a process has a transcript of its own.
        if not ours:
            continue
        if isinstance(event, SpanBeginEvent) and event.name == "scorers":
            break
        if isinstance(event, InfoEvent) and event.source == TOLD_BY:
            called.told += isinstance(event.data, dict)
        if not isinstance(event, ModelEvent) or event.error or event.pending:
            continue
        if event.role in (None, "target") and event.output.choices:
            called.outputs.append(event.output)
    return called
