"""Reads facts about measures from a log's header: headline, range, direction, several answers.

A task may declare facts that its scorers' names do not tell (`SCORER.KEY`, or the key alone):

    Task(metadata={"measures": {"asr": {"lower_is_better": True, "max": 1},
                                "solved": {"help": True}}})
"""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from inspect_ai.log import EvalLog
from pydantic import TypeAdapter, ValidationError

from vlmguard.guard.cards import Measure, View, cards
from vlmguard.guard.errors import first_fault
from vlmguard.results.logs.answers import (
    LeftOut,
    Names,
    Row,
    UnusableScores,
    bare,
    column_name,
    own_views,
    reducer_name,
    values_by_key,
)
from vlmguard.results.logs.summaries import Summary

_MACRO: Final = "macro"
"""A headline metric of this name is the mean over categories with equal weights."""


def _voted(values: list[float]) -> list[float]:
    """Labels by majority, where a tie is 0, grades by mean, and a plain score by mode."""
    mean = statistics.fmean(values)
    return [mean, float(mean > 0.5), *statistics.multimode(values)]


# What each reducer can make of the scores of several answers.
_SINGLE: Final[dict[str, Callable[[list[float]], list[float]]]] = {
    "mean": lambda values: [statistics.fmean(values)],
    "median": lambda values: [statistics.median(values)],
    "mode": statistics.multimode,
    "max": lambda values: [max(values)],
    "vote": _voted,
    "any_success": lambda values: [*_voted(values), max(values)],
}


@dataclass(frozen=True)
class Declared:
    """How to read the measures of a run.

    Attributes:
        headline: Column of the task's headline measure.
        asked: Columns of all measures that the scorers should give.
        macro: Whether the headline is a mean over categories.
        ranges: Highest value of each measure, if that is known.
        measures: How to read a column, if its task or its scorer declares it.
        reducer: How several answers to a question were reduced to one; empty for one answer.
        any_of: Columns in which one success among several answers is enough.
        remarks: Remarks for readers.
    """

    headline: str
    asked: tuple[str, ...] = ()
    macro: bool = False
    ranges: dict[str, float] = field(default_factory=dict)
    measures: dict[str, Measure] = field(default_factory=dict)
    reducer: str = ""
    any_of: frozenset[str] = frozenset()
    remarks: tuple[str, ...] = ()


def declared_by(log: EvalLog, summaries: list[Summary], names: Names) -> Declared:
    """Read the facts about measures in a header.

    Args:
        log: The header.
        summaries: The samples.
        names: The scorers of the view.
    """
    columns = _columns(log, summaries, names)
    headline, macro = _headline(log, columns, names)
    ranges, any_of = _covered(log, names)
    by_task, remarks = _stated(log)
    by_scorer = _registered()
    measures = {}
    for column in columns:
        key = column.partition(".")[2]
        for said in (by_scorer.get(column), by_task.get(column) or by_task.get(key)):
            if said is not None:
                measures[column] = said
                ranges |= {} if said.max is None else {column: said.max}
    for column, view in own_views().items():
        if view.of in columns:
            measures[column] = view
            ranges |= {} if view.max is None else {column: view.max}
    reducers = list(
        dict.fromkeys(reducer_name(each.reducer or "") for each in log.reductions or [])
    )
    chosen = _reducer(log)
    if chosen and len(reducers) > 1:
        remarks.append(
            f"several answers were reduced in several ways ({', '.join(reducers)}); {chosen} is "
            f"shown"
        )
    return Declared(
        headline, tuple(columns), macro, ranges, measures, chosen, any_of, tuple(remarks)
    )


def reduced_values(log: EvalLog, names: Names) -> dict[str, dict[str, float]]:
    """Inspect's own reduction of several answers to each question.

    Args:
        log: The header, with reductions.
        names: The scorers of the view.

    Returns:
        Values by measure and sample; empty for one answer per question.

    Raises:
        LeftOut: The log lacks the reduction of a scorer.
    """
    if (log.eval.config.epochs or 1) == 1:
        return {}
    chosen = _reducer(log)
    reduced: dict[str, dict[str, float]] = {}
    missing = set(names)
    for reduction in log.reductions or []:
        if reduction.scorer not in names or reducer_name(reduction.reducer or "") != chosen:
            continue
        missing.discard(reduction.scorer)
        for score in reduction.samples:
            for key, value in values_by_key(score).items():
                measure = column_name(names[reduction.scorer], key, names)
                reduced.setdefault(measure, {})[str(score.sample_id)] = value
    if missing:
        raise LeftOut(
            f"several answers to each question, and no single score of them by "
            f"{', '.join(sorted(missing))}; score it again (inspect score --action overwrite)"
        )
    return reduced


def check_reduced(
    rows: list[Row], declared: Declared, reduced: dict[str, dict[str, float]]
) -> None:
    """Refuse several answers whose scores are not those that were reduced to one.

    Who edits scores may leave the reduction as it was, and tables show the reduction. Reducers that
    are not known here are not looked at, nor samples of which an answer has no score.

    Raises:
        UnusableScores: An answer is not in the reduction, or a sample's single score is none that
            its answers can give.
    """
    single = _SINGLE.get(declared.reducer)
    answers: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        for column in reduced:
            answers.setdefault((column, row["sample"]), []).append(row.get(column, math.nan))
    for (column, sample), values in answers.items():
        found = reduced[column].get(sample)
        if found is None:
            wrong = not all(map(math.isnan, values))
        else:
            allowed = [] if single is None or any(map(math.isnan, values)) else single(values)
            wrong = bool(allowed) and not any(
                math.isclose(found, each, abs_tol=1e-9) for each in allowed
            )
        if wrong:
            raise UnusableScores(
                f"the single score of several answers is not theirs: {column} of {sample} is "
                f"{'missing' if found is None else f'{found:g}'}, its answers have "
                f"{', '.join(f'{value:g}' for value in values)} (scores were edited or removed "
                f"afterwards); inspect_ai.log.recompute_metrics, or score it again (inspect score "
                f"--action overwrite)"
            )


def check_ranges(rows: list[Row], declared: Declared, reduced: dict[str, dict[str, float]]) -> None:
    """Refuse scores that their scorer cannot give, since one wrong value would change every mean.

    Args:
        rows: A row for each answer.
        declared: The ranges of measures.
        reduced: Values by measure and sample, if there were several answers.

    Raises:
        UnusableScores: A value is below 0 or above its measure's highest.
    """
    for column, highest in declared.ranges.items():
        values = [(row["sample"], row.get(column, math.nan)) for row in rows]
        values += reduced.get(column, {}).items()
        beyond = [(sample, value) for sample, value in values if value < 0 or value > highest]
        if beyond:
            sample, value = beyond[0]
            raise UnusableScores(
                f"out of range: {column} is {value:g} in {sample}, of 0 to {highest:g} "
                f"({len(beyond)} such values)"
            )


def _stated(log: EvalLog) -> tuple[Mapping[str, Measure], list[str]]:
    """The task's declaration of its measures, and its faults.

    Older logs of our tasks declare nothing; the task's card then does.
    """
    found = (log.eval.metadata or {}).get("measures")
    if not found:
        card = cards().benchmark(bare(log.eval.task), log.eval.task_args)
        return ({} if card is None else card.measures), []
    try:
        return TypeAdapter(dict[str, Measure]).validate_python(found), []
    except ValidationError as error:
        where, reason = first_fault(error)
        place = f"measures.{where}" if where else "measures"
        return {}, [f"what its task's metadata declares at {place} is not used: {reason}"]


def _registered() -> dict[str, Measure]:
    """The measures that scorers declare, by column."""
    return {
        f"{scorer}.{measure.of if isinstance(measure, View) else name}": measure
        for scorer, measures in cards().measures.items()
        for name, measure in measures.items()
    }


def _reducer(log: EvalLog) -> str:
    """The headline's reducer, else the first one; empty for one answer."""
    if (log.eval.config.epochs or 1) == 1:
        return ""
    headline = log.eval.headline_metric
    asked: Iterable[str | None] = (
        headline.reducer if headline else None,
        *(log.eval.config.epochs_reducer or []),
        *(each.reducer for each in log.reductions or []),
    )
    return next((reducer_name(each) for each in asked if each), "")


def _columns(log: EvalLog, summaries: list[Summary], names: Names) -> list[str]:
    """All columns of a view: the keys that a scorer's metrics name, and those of its first score.

    A score without any verdict (`Score.unscored()`) has no keys, and a header may not name them.
    """
    keys = {scorer: _keys_asked(log, names[scorer], names) for scorer in names}
    waiting = set(names)
    for sample in summaries:
        for scorer in waiting & (sample.scores or {}).keys():
            score = (sample.scores or {})[scorer]
            if isinstance(score.value, dict) or not keys[scorer]:
                waiting.discard(scorer)
                keys[scorer] |= dict.fromkeys(values_by_key(score))
        if not waiting:
            break
    return [column_name(names[scorer], key, names) for scorer in names for key in keys[scorer]]


def _keys_asked(log: EvalLog, name: str, names: Names) -> dict[str, None]:
    """The keys for which the header lists metrics, in order."""
    keys: dict[str, None] = {}
    for scorer in log.eval.scorers or []:
        if names.get(bare(scorer.name), bare(scorer.name)) != name:
            continue
        metrics = [scorer.metrics] if isinstance(scorer.metrics, dict) else scorer.metrics or []
        for each in metrics:
            if isinstance(each, dict):
                keys |= dict.fromkeys(key for key in each if "*" not in key)
    return keys


def _headline(log: EvalLog, columns: list[str], names: Names) -> tuple[str, bool]:
    """Column of the headline, and whether it is a mean over categories.

    A headline may be a metric without values for single samples. Then the first value of its scorer
    replaces it.
    """
    headline = log.eval.headline_metric
    if headline is not None and headline.scorer:
        scorer = names.get(headline.scorer, headline.scorer)
        of_scorer = [column for column in columns if column.startswith(f"{scorer}.")]
        named = f"{scorer}.{headline.score or 'value'}"
        if of_scorer:
            chosen = named if named in of_scorer else of_scorer[0]
            return chosen, headline.metric == _MACRO
    return next(iter(columns), ""), False


def _covered(log: EvalLog, names: Names) -> tuple[dict[str, float], frozenset[str]]:
    """Options of the `coverage` metric: highest values, and keys of which one success is enough."""
    ranges: dict[str, float] = {}
    any_of: set[str] = set()
    for scorer in log.eval.scorers or []:
        metrics = scorer.metrics if isinstance(scorer.metrics, list) else []
        name = names.get(bare(scorer.name), bare(scorer.name))
        for metric in metrics:
            if isinstance(metric, dict) or bare(metric.name) != "coverage":
                continue
            options: dict[str, Any] = dict(metric.options or {})
            any_of |= {f"{name}.{key}" for key in options.pop("any_of", ())}
            options.pop("dialogues", None)
            ranges |= {f"{name}.{key}": float(highest) for key, highest in options.items()}
    return ranges, frozenset(any_of)
