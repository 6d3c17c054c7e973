"""A metric of pairs: samples that a guard must tell apart, of which one alone proves little."""

import math
from collections import defaultdict
from typing import Any

from inspect_ai.scorer import Metric, SampleScore, Value, metric

__all__ = ["pairs_right"]


@metric
def pairs_right(key: str) -> Metric:
    """The share of pairs of which every sample is right.

    A pair is all samples with the same `pair_id` in their metadata, at least two. A pair with a
    wrong sample is wrong; one without, of which a sample has no verdict, is unscored and in no
    share.

    Args:
        key: The key of the scores; 1 is right.

    Returns:
        `pairs_right` and its standard error, `pairs` (their number), and how many of them were
        `pairs_scored`; nothing if there are no pairs.
    """

    def compute(scores: list[SampleScore]) -> Value:
        pairs: dict[object, list[float]] = defaultdict(list)
        for score in scores:
            pair = (score.sample_metadata or {}).get("pair_id")
            if pair is not None:
                pairs[pair].append(float(score.score.as_dict()[key] or 0))
        whole = [values for values in pairs.values() if len(values) > 1]
        if not whole:
            return {}
        known = [
            float(min(values) == 1)
            for values in whole
            if 0 in values or not any(map(math.isnan, values))
        ]
        result: dict[str, Any] = {"pairs_right": math.nan, "pairs_right_stderr": math.nan}
        if known:
            result["pairs_right"] = rate = sum(known) / len(known)
            if len(known) > 1:
                result["pairs_right_stderr"] = math.sqrt(rate * (1 - rate) / (len(known) - 1))
        return {**result, "pairs": len(whole), "pairs_scored": len(known)}

    return compute
