"""Means over groups of samples, in which each group counts alike."""

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from statistics import mean, variance

from inspect_ai.scorer import SampleScore

from vlmguard.scorers.metrics import value_of

__all__ = ["mean_of_means", "values_by"]


def values_by(scores: Sequence[SampleScore], key: str, field: str) -> dict[str, list[float]]:
    """The values of a key by a field of the samples' metadata.

    Args:
        scores: The scores, one for each sample.
        key: The key of the scores.
        field: The field, e.g. `category`.

    Returns:
        The values that are not NaN, by group in the order of the samples; a group without any has
        an empty list.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for score in scores:
        value = value_of(score.score, key)
        group = str((score.sample_metadata or {})[field])
        found[group].extend([] if math.isnan(value) else [value])
    return dict(found)


def mean_of_means(groups: Collection[Sequence[float]]) -> tuple[float, float]:
    """The mean of the groups' means, and its standard error.

    Args:
        groups: The values of each group; groups without any are left out.

    Returns:
        The mean, NaN without any value; and the error of a stratified sample, NaN if a group has a
        single value. It takes values as independent.
    """
    strata = [values for values in groups if values]
    if not strata:
        return math.nan, math.nan
    squares = [variance(values) / len(values) if len(values) > 1 else math.nan for values in strata]
    return mean(mean(values) for values in strata), math.sqrt(sum(squares)) / len(strata)
