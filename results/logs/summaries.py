"""Summaries of samples, as far as tables need them.

Inspect's own `EvalSampleSummary` checks and shortens all texts of each sample, which takes most of
the time of reading a log. Inspect wrote a log's summaries from that class, so they need it no
more. Those of another shape are left to it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from inspect_ai.log import EvalSampleSummary

from vlmguard.results.logs.causes import cause_in

__all__ = ["Mark", "Summary", "as_written", "from_inspect"]

_VALUES: Final = (str, int, float, bool)


@dataclass(slots=True)
class Mark:
    """A score.

    Attributes:
        value: One value, or several by key.
        reason: Why there is none.
        metadata: What its scorer notes.
    """

    value: Any
    reason: str | None = None
    metadata: dict[str, Any] | None = None


@dataclass(slots=True)
class Summary:
    """A sample.

    Attributes:
        id: Its id.
        epoch: The number of this answer to it.
        metadata: Its metadata.
        scores: Its scores, by scorer.
        model_costs: Cost by model; None where no price is known.
        role_costs: The same by role.
        error: What ended it.
        started_at: When it began.
        completed_at: When it was done.
        total_time: Seconds in between.
        retries: How often it was tried again.
    """

    id: int | str
    epoch: int
    metadata: dict[str, Any]
    scores: dict[str, Mark] = field(default_factory=dict)
    model_costs: dict[str, float | None] = field(default_factory=dict)
    role_costs: dict[str, float | None] = field(default_factory=dict)
    error: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    total_time: float | None = None
    retries: int | None = None


def from_inspect(summaries: Iterable[EvalSampleSummary]) -> list[Summary]:
    """Summaries that Inspect read."""
    return [
        Summary(
            id=each.id,
            epoch=each.epoch,
            metadata=each.metadata,
            scores={
                name: Mark(score.value, score.reason, score.metadata)
                for name, score in (each.scores or {}).items()
            },
            model_costs={name: usage.total_cost for name, usage in each.model_usage.items()},
            role_costs={name: usage.total_cost for name, usage in each.role_usage.items()},
            error=None if each.error is None else cause_in(each.error),
            started_at=each.started_at,
            completed_at=each.completed_at,
            total_time=each.total_time,
            retries=each.retries,
        )
        for each in summaries
    ]


def as_written(content: Any) -> list[Summary] | None:
    """The summaries in a log's `summaries.json`.

    Args:
        content: What it holds.

    Returns:
        The last one of each answer, as Inspect's reader has it; None if one has another shape than
        Inspect's present format, and its own reader must say what it means.
    """
    if not isinstance(content, list):
        return None
    found: dict[tuple[str, int], Summary] = {}
    for row in content:
        summary = _summary(row)
        if summary is None:
            return None
        found[str(summary.id), summary.epoch] = summary
    return list(found.values())


def _summary(row: Any) -> Summary | None:
    if not isinstance(row, dict):
        return None
    get = row.get
    scores = _marks(get("scores"))
    model_costs, role_costs = _costs(get("model_usage")), _costs(get("role_usage"))
    name, epoch, metadata = get("id"), get("epoch"), get("metadata", {})
    if scores is None or model_costs is None or role_costs is None:
        return None
    if not (
        (type(name) is str or type(name) is int)
        and type(epoch) is int
        and isinstance(metadata, dict)
        and _is_text(get("error"))
        and _is_moment(get("started_at"))
        and _is_moment(get("completed_at"))
        and _is_seconds(get("total_time"))
        and (get("retries") is None or type(get("retries")) is int)
    ):
        return None
    error = None if (said := get("error")) is None else cause_in(said)
    return Summary(
        name,
        epoch,
        metadata,
        scores,
        model_costs,
        role_costs,
        error,
        get("started_at"),
        get("completed_at"),
        get("total_time"),
        get("retries"),
    )


def _marks(scores: Any) -> dict[str, Mark] | None:
    if scores is None:
        return {}
    if not isinstance(scores, dict):
        return None
    marks = {}
    for name, score in scores.items():
        if not isinstance(score, dict):
            return None
        value, metadata, reason = score.get("value"), score.get("metadata"), score.get("reason")
        if isinstance(value, dict):
            fits = all(each is None or type(each) in _VALUES for each in value.values())
        elif isinstance(value, list):
            fits = all(type(each) in _VALUES for each in value)
        else:
            fits = type(value) in _VALUES
        if not (fits and (metadata is None or isinstance(metadata, dict)) and _is_text(reason)):
            return None
        if reason is None and metadata and metadata.get("unscored_reason") is not None:
            return None  # Of an older Inspect, whose reader knows what it means.
        marks[name] = Mark(value, reason, metadata)
    return marks


def _costs(usage: Any) -> dict[str, float | None] | None:
    if usage is None:
        return {}
    if not isinstance(usage, dict):
        return None
    costs = {}
    for name, each in usage.items():
        if not isinstance(each, dict):
            return None
        cost = each.get("total_cost")
        if not _is_seconds(cost):
            return None
        costs[name] = cost
    return costs


def _is_text(value: Any) -> bool:
    return value is None or type(value) is str


def _is_seconds(value: Any) -> bool:
    return value is None or type(value) is float or type(value) is int


def _is_moment(value: Any) -> bool:
    """Whether a time is written as Inspect writes it today: in UTC."""
    return value is None or (type(value) is str and value.endswith("+00:00"))
