"""Means of a measure on parts of the samples, each with its standard error."""

import math
from collections import defaultdict
from statistics import fmean
from typing import Any

from inspect_ai.scorer import Metric, SampleScore, Value, metric

from vlmguard.scorers.metrics import clustered_error, image_of, value_of

__all__ = ["sliced"]


@metric
def sliced(key: str, fields: tuple[str, ...]) -> Metric:
    """Means of a key on the samples of each part, with standard errors clustered by image.

    Args:
        key: The key of the scores.
        fields: Fields of the samples' metadata. A text makes a part for each of its values; of a
            flag only the samples that have it are a part, which has the flag's name.

    Returns:
        `PART` and `PART_stderr` for each part that occurs; NaN if nothing in it was scored.
    """

    def compute(scores: list[SampleScore]) -> Value:
        parts: dict[str, list[tuple[object, float]]] = defaultdict(list)
        for each in scores:
            value = value_of(each.score, key)
            for part in _parts(each.sample_metadata or {}, fields):
                parts[part].append((image_of(each), value))
        result: dict[str, Any] = {}
        for part, of in sorted(parts.items()):
            known = [(image, value) for image, value in of if not math.isnan(value)]
            result[part] = fmean(value for _, value in known) if known else math.nan
            result[f"{part}_stderr"] = clustered_error(known)
        return result

    return compute


def _parts(metadata: dict[str, Any], fields: tuple[str, ...]) -> list[str]:
    found = [(name, metadata.get(name)) for name in fields]
    return [name if value is True else str(value) for name, value in found if value]
