"""Precision, recall and F1 of the answer yes, and what is lost by a strict reading."""

import math
from typing import Any

from inspect_ai.scorer import Metric, SampleScore, Value, metric

from vlmguard.scorers.format_damage import lost_by_format

__all__ = ["yes_no_rates"]


@metric
def yes_no_rates() -> Metric:
    """Rates of answers to questions of yes or no, over the scored ones.

    Scores hold `correct`, `correct_strict` and `says_yes`, each 0 or 1 (or all NaN); the samples'
    metadata hold the `label`, `yes` or `no`. Rates are by predictions: what is neither yes nor no
    is not a yes.

    Returns:
        `precision`, `recall` and `f1` of yes, 0 to 1; `format_damage`, by how much the share of
        `correct_strict` is below that of `correct`, -1 to 1. NaN where nothing was said or asked.
    """

    def compute(scores: list[SampleScore]) -> Value:
        answers = [
            (score.score.as_dict(), (score.sample_metadata or {})["label"] == "yes")
            for score in scores
        ]
        known = [(value, yes) for value, yes in answers if not math.isnan(_of(value, "correct"))]
        said = [yes for value, yes in known if _of(value, "says_yes") == 1.0]
        hits, there = sum(said), sum(yes for _, yes in known)
        return {
            "precision": _share(hits, len(said)),
            "recall": _share(hits, there),
            "f1": _share(2 * hits, len(said) + there),
            "format_damage": lost_by_format(scores),
        }

    return compute


def _of(value: dict[str, Any], key: str) -> float:
    return float(value[key])


def _share(part: float, whole: int) -> float:
    return part / whole if whole else math.nan
