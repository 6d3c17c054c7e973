"""Means and paired differences on the same samples, with intervals and tests.

Answers about one image resemble each other, so whole images vary and are permuted,
never single answers. All random numbers come from one fixed seed: equal logs give
equal tables. Where no random flip reaches, a bound on the tail takes over.
The test decides whether there is a difference; the interval says how large it may be.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vlmguard.results.intervals import (
    Ends,
    Numbers,
    cluster_robust,
    grade_difference_interval,
    grade_interval,
    label_difference_interval,
    share_interval,
    t_interval,
)

LEVEL: Final = 0.95
FEWEST_CLUSTERS: Final = 10
"""With fewer clusters no interval is given: none holds what it says."""
RESAMPLES: Final = 10_000
PERMUTATIONS: Final = 20_000
_EXACT_CLUSTERS: Final = 12
_SEED: Final = 20250417
_BLOCK: Final = 1_000


@dataclass(frozen=True)
class Difference:
    """Mean paired difference: new minus old.

    Attributes:
        mean: In the measure's own unit.
        low: Lower end of the 95 % interval; NaN with fewer than ten clusters.
        high: Upper end.
        p: Two-sided p-value of the test, not yet corrected.
        test: `McNemar` or `permutation`.
        pairs: Samples scored in both runs.
        clusters: Images among them.
    """

    mean: float
    low: float
    high: float
    p: float
    test: str
    pairs: int
    clusters: int


def paired_difference(
    old: Numbers,
    new: Numbers,
    clusters: npt.NDArray[Any],
    weights: Numbers | None = None,
    highest: float = math.nan,
    level: float = LEVEL,
) -> Difference | None:
    """Compare two runs sample by sample.

    The interval is Tango's for labels, else Student's on a cluster-robust variance (see
    `intervals`). The test is the exact McNemar test for labels where no two samples share a
    cluster, else a permutation test that flips the sign of whole clusters (exact up to
    12 clusters that differ, 20,000 random flips beyond, Hoeffding's bound where
    none of these reaches).

    Args:
        old: Values of the run that is compared with; NaN where unscored.
        new: Values of the other run, in the same order of samples.
        clusters: Cluster (image) of each sample.
        weights: Of each sample, above 0 where both are scored; all alike if left out.
        highest: Largest possible value, where it is known (the smallest is 0). Values that
            are all 0 and 1 are labels, unless it says otherwise.
        level: Confidence of the interval.

    Returns:
        The difference, or None if no sample is scored in both.
    """
    known = ~(np.isnan(old) | np.isnan(new))
    if not known.any():
        return None
    old, new = old[known], new[known]
    changes = new - old
    codes = _codes(clusters[known])
    shares = _shares(weights, known)
    sums: Numbers = np.bincount(codes, weights=shares * changes).astype(np.float64)
    labels = bool(np.isin(np.abs([old, new]), (0.0, 1.0)).all())
    if labels and len(sums) == len(changes) and weights is None:
        p, test = mcnemar(int((sums > 0).sum()), int((sums < 0).sum())), "McNemar"
    else:
        p, test = permutation(sums), "permutation"
    low = high = math.nan
    if len(sums) >= FEWEST_CLUSTERS:
        fit = cluster_robust(changes, codes, shares)
        if labels and (highest == 1.0 or math.isnan(highest)):
            gained, lost = (float(shares @ (sign * changes > 0)) for sign in (1, -1))
            low, high = label_difference_interval(gained, lost, fit, level)
        else:
            changed = int(np.count_nonzero(np.abs(sums) > 1e-12))
            low, high = grade_difference_interval(changes, shares, fit, changed, highest, level)
    mean = float(shares @ changes) / len(changes)
    return Difference(mean, low, high, p, test, len(changes), len(sums))


def mean_interval(
    values: Numbers,
    clusters: npt.NDArray[Any],
    weights: Numbers | None = None,
    highest: float = math.nan,
    level: float = LEVEL,
) -> Ends:
    """Interval of a mean (see `intervals`).

    Args:
        values: One for each sample; NaN where unscored.
        clusters: Cluster of each sample.
        weights: Of each sample, above 0 where it is scored; all alike if left out.
        highest: Largest possible value, where it is known (the smallest is 0). Values that
            are all 0 and 1 are shares, unless it says otherwise.
        level: Confidence of the interval.

    Returns:
        Lower and upper end; NaN with fewer than ten scored clusters, and where nothing
        varies and the range is not known or not kept to.
    """
    known = ~np.isnan(values)
    values, codes = values[known], _codes(clusters[known])
    if not len(codes) or codes.max() + 1 < FEWEST_CLUSTERS:
        return math.nan, math.nan
    fit = cluster_robust(values, codes, _shares(weights, known))
    if (highest == 1.0 or math.isnan(highest)) and np.isin(values, (0.0, 1.0)).all():
        return share_interval(fit, level)
    if math.isnan(highest) or values.min() < 0 or values.max() > highest:
        return t_interval(fit, level)
    return grade_interval(fit, highest, level)


def one_sided(
    differences: Numbers, clusters: npt.NDArray[Any], level: float
) -> tuple[float, float]:
    """Upper bound of a mean difference, and how surely it lies below zero.

    Resampling few clusters that differ makes losses look surer than they are:
    k of them, all in one direction, give a share of about e^-k, where a fair
    coin gives 2^-k. Ask for the exact test of `paired_difference` as well.

    Args:
        differences: New minus old for each sample, none of them NaN.
        clusters: Cluster of each sample.
        level: Confidence of the bound, e.g. 0.95.

    Returns:
        The bound, and the share of resampled means that are not below zero
        (a one-sided p-value); both from the normal tail where no resample
        reaches, and NaN with fewer than two clusters.
    """
    sums, counts = _by_cluster(differences, clusters)
    if len(sums) < 2:
        return math.nan, math.nan
    means = _resampled(sums, counts)
    center, spread = float(means.mean()), float(means.std())
    beyond = int((means >= -1e-12).sum())
    # One added to both: a p-value from resampling is never exactly zero.
    p = (beyond + 1) / (len(means) + 1)
    if beyond == 0:
        p = min(p, 0.5 * math.erfc(-center / spread / math.sqrt(2)) if spread else 0.0)
    bound = float(np.quantile(means, level))
    if (1 - level) * len(means) < 1:
        bound = max(bound, center + NormalDist().inv_cdf(level) * spread)
    return bound, p


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided McNemar test.

    Args:
        gained: Samples that went from 0 to 1.
        lost: Samples that went from 1 to 0.

    Returns:
        The p-value; 1 if nothing changed.
    """
    changed = gained + lost
    tail, term = 0, 1
    for k in range(min(gained, lost) + 1):
        tail += term
        term = term * (changed - k) // (k + 1)
    return min(1.0, 2 * tail / (1 << changed))


def permutation(sums: Numbers) -> float:
    """Two-sided sign-flip test that a sum of differences is zero.

    Args:
        sums: Sum of the differences in each cluster.

    Returns:
        The p-value; 1 if nothing differs.
    """
    moved = sums[sums != 0.0]
    if len(moved) == 0:
        return 1.0
    # A hair below the observed sum, so that sums equal but for rounding count as equal.
    observed = abs(moved.sum()) - 1e-6 * np.abs(moved).sum()
    if len(moved) <= _EXACT_CLUSTERS:
        patterns = (np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))) & 1
        return float((np.abs((2 * patterns - 1) @ moved) >= observed).mean())
    flips = _signs(len(moved))
    extreme = 0
    for start in range(0, PERMUTATIONS, _BLOCK):
        block = flips[start : start + _BLOCK].astype(np.float32)
        extreme += int((np.abs(block @ moved.astype(np.float32)) >= observed).sum())
    p = (extreme + 1) / (PERMUTATIONS + 1)
    if extreme == 0:
        # Hoeffding's bound holds for any sums, and goes on where the flips end.
        p = min(p, 2 * math.exp(-(float(moved.sum()) ** 2) / (2 * float(moved @ moved))))
    return p


def holm(p_values: list[float]) -> list[float]:
    """Holm's correction for several tests.

    Args:
        p_values: Uncorrected.

    Returns:
        Adjusted p-values in the same order, at most 1.
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, p_values[place] * (len(p_values) - rank)))
        adjusted[place] = highest
    return adjusted


def _codes(clusters: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Clusters numbered from 0."""
    codes: npt.NDArray[np.intp] = np.unique(clusters, return_inverse=True)[1]
    return codes


def _shares(weights: Numbers | None, known: npt.NDArray[np.bool_]) -> Numbers:
    """Weights of the known samples, with a mean of 1."""
    if weights is None:
        return np.ones(int(known.sum()))
    shares: Numbers = weights[known] / weights[known].mean()
    return shares


def _by_cluster(values: Numbers, clusters: npt.NDArray[Any]) -> tuple[Numbers, Numbers]:
    """Sum and number of the values in each cluster."""
    _, codes = np.unique(clusters, return_inverse=True)
    sums: Numbers = np.bincount(codes, weights=values).astype(np.float64)
    counts: Numbers = np.bincount(codes).astype(np.float64)
    return sums, counts


def _resampled(sums: Numbers, counts: Numbers) -> Numbers:
    """Means of resampled clusters."""
    drawn = _draws(len(sums))
    stacked = np.stack([sums, counts], axis=1)
    totals = np.concatenate(
        [drawn[start : start + _BLOCK] @ stacked for start in range(0, RESAMPLES, _BLOCK)]
    )
    means: Numbers = totals[:, 0] / totals[:, 1]
    return means


# Both depend on the number of clusters alone, so a whole table shares them.
@lru_cache(maxsize=4)
def _draws(clusters: int) -> npt.NDArray[np.uint8]:
    """How often each cluster is drawn, in each resample."""
    random = np.random.default_rng((_SEED, clusters))
    drawn = np.empty((RESAMPLES, clusters), dtype=np.uint8)
    for start in range(0, RESAMPLES, _BLOCK):
        picks = random.integers(0, clusters, size=(_BLOCK, clusters))
        picks += np.arange(_BLOCK)[:, None] * clusters
        counted = np.bincount(picks.ravel(), minlength=_BLOCK * clusters)
        drawn[start : start + _BLOCK] = counted.reshape(_BLOCK, clusters)
    return drawn


@lru_cache(maxsize=4)
def _signs(clusters: int) -> npt.NDArray[np.int8]:
    """Random signs for each cluster, in each permutation."""
    random = np.random.default_rng((_SEED, clusters, 1))
    signs: npt.NDArray[np.int8] = random.integers(
        0, 2, size=(PERMUTATIONS, clusters), dtype=np.int8
    )
    return signs * np.int8(2) - np.int8(1)
