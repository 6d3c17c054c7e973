"""Metrics that all our scorers share: means with their errors, and what was not scored."""

import math
from collections import Counter
from typing import Any

from inspect_ai.scorer import (
    Metric,
    SampleScore,
    Score,
    ScoreReducer,
    Value,
    grouped,
    mean,
    metric,
    score_reducer,
    stderr,
)


def by_category() -> list[Metric]:
    """Mean, standard error clustered by image, and the mean per category."""
    return [mean(), stderr(cluster="image_id"), grouped(mean(), "category", all=False)]


@metric(scores="unreduced")
def coverage(**ranges: float) -> Metric:
    """How much was scored, and what the unscored rest could change at most.

    Counts every answer, before epochs are reduced.

    Args:
        **ranges: The highest value of each key of the score (the lowest is 0).

    Returns:
        For each key `KEY_scored` and `KEY_of` (numbers of answers), `KEY_low`
        and `KEY_high` (the mean if every unscored answer had the lowest or the
        highest value), and the number of answers per reason, `unscored_REASON`.
    """

    def compute(scores: list[SampleScore]) -> Value:
        result: dict[str, Any] = {}
        reasons: Counter[str] = Counter()
        for key, highest in ranges.items():
            values = [_value(score.score, key) for score in scores]
            known = [value for value in values if not math.isnan(value)]
            missing = len(values) - len(known)
            result[f"{key}_scored"] = len(known)
            result[f"{key}_of"] = len(values)
            result[f"{key}_low"] = _mean(sum(known), len(values))
            result[f"{key}_high"] = _mean(sum(known) + missing * highest, len(values))
        for score in scores:
            reasons.update(set((score.score.metadata or {}).get("unscored", {}).values()))
        result.update({f"unscored_{reason}": count for reason, count in sorted(reasons.items())})
        return result

    return compute


@score_reducer(name="vote")
def vote(average: tuple[str, ...] = ("safety",)) -> ScoreReducer:
    """Reduce several answers to a question: labels by vote, grades by mean.

    An unusable verdict does not vote, a tie is 0, no vote is NaN.

    Args:
        average: Keys that are grades and are averaged.
    """

    def reduce(scores: list[Score]) -> Score:
        keys = scores[0].as_dict().keys()
        value: dict[str, Any] = {}
        for key in keys:
            values = [_value(score, key) for score in scores]
            value[key] = average_known(values) if key in average else majority(values)
        return Score(value=value, explanation=scores[0].explanation, metadata=scores[0].metadata)

    return reduce


def majority(values: list[float]) -> float:
    """Majority of labels 0 and 1: NaN does not vote, a tie is 0, no vote is NaN.

    Args:
        values: Labels, or NaN.

    Returns:
        1.0, 0.0 or NaN.
    """
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return math.nan
    return 1.0 if sum(known) * 2 > len(known) else 0.0


def average_known(values: list[float]) -> float:
    """Mean of the known values; NaN if there is none.

    Args:
        values: Grades, or NaN.

    Returns:
        Their mean.
    """
    known = [value for value in values if not math.isnan(value)]
    return _mean(sum(known), len(known))


def _value(score: Score, key: str) -> float:
    if not isinstance(score.value, dict):
        return math.nan
    value = score.value[key]
    return float(value) if isinstance(value, int | float) else math.nan


def _mean(total: float, count: int) -> float:
    return total / count if count else math.nan
