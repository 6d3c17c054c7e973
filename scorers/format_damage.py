"""What words around a right answer cost whoever needs the bare answer."""

import math
from collections.abc import Sequence

from inspect_ai.scorer import Metric, SampleScore, Value, metric

from vlmguard.scorers.metrics import value_of

__all__ = ["format_damage", "lost_by_format"]


@metric
def format_damage() -> Metric:
    """`format_damage` of scores with the keys `correct` and `correct_strict`."""

    def compute(scores: list[SampleScore]) -> Value:
        return {"format_damage": lost_by_format(scores)}

    return compute


def lost_by_format(scores: Sequence[SampleScore]) -> float:
    """By how much the share of `correct_strict` is below that of `correct`.

    Args:
        scores: Scores with both keys, each 0 or 1, or both NaN.

    Returns:
        The difference over scored answers, -1 to 1; NaN without any.
    """
    pairs = [
        [value_of(each.score, key) for key in ("correct", "correct_strict")] for each in scores
    ]
    lost = [right - strictly for right, strictly in pairs if not math.isnan(right - strictly)]
    return sum(lost) / len(lost) if lost else math.nan
