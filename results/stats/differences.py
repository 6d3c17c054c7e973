"""Means and paired differences on the same samples, with intervals and tests.

Answers about one image resemble each other. So the units of variance and of permutation are whole
images, never single answers. All random numbers come from one fixed seed, so that equal logs give
equal tables. If no random flip is as extreme as the observed sum, a bound on the tail gives p. The
test decides whether there is a difference; the interval says how large it may be.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import bdtr

from vlmguard.results.stats.intervals import (
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
"""With fewer clusters no interval is given, since none covers as often as it claims."""
PERMUTATIONS: Final = 20_000
_EXACT_CLUSTERS: Final = 12
_SEED: Final = 20250417
_BLOCK: Final = 1_000
_TOGETHER: Final = 64
"""So many tests are flipped at once: a bound on memory."""


@dataclass(frozen=True)
class Difference:
    """Mean paired difference: new minus old.

    Attributes:
        mean: The difference in the measure's own unit.
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

    def turned(self, direction: int) -> "Difference":
        """The same, if more is better (1); with the signs turned, if less is (-1)."""
        if direction > 0:
            return self
        return replace(self, mean=0.0 - self.mean, low=0.0 - self.high, high=0.0 - self.low)


@dataclass(frozen=True)
class Pairs:
    """Samples that two runs scored.

    Attributes:
        changes: New minus old.
        codes: Image of each sample, as an index into `names`.
        names: The images.
        weights: Weights with a mean of 1.
        weighted: Whether the weights may differ.
        labels: Whether all values are 0 or 1 (or -1).
    """

    changes: Numbers
    codes: npt.NDArray[np.intp]
    names: npt.NDArray[Any]
    weights: Numbers
    weighted: bool
    labels: bool

    @property
    def sums(self) -> Numbers:
        """Weighted sum of the changes in each image."""
        sums: Numbers = np.bincount(self.codes, weights=self.weights * self.changes).astype(
            np.float64
        )
        return sums


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
    `intervals`). The test is the exact McNemar test for labels if no two samples share a cluster.
    Else it is a permutation test that flips the sign of whole clusters: exact up to 12 clusters
    that differ, beyond that 20,000 random flips, and Hoeffding's bound if none of these is as
    extreme.

    Args:
        old: Values of the first run; NaN if unscored.
        new: Values of the second run, in the same order of samples.
        clusters: Cluster (image) of each sample.
        weights: Weight of each sample, above 0 if both are scored; equal by default.
        highest: Largest possible value, if known (the smallest is 0). Values that are all 0 and 1
            are labels, unless this is above 1.
        level: Confidence of the interval.

    Returns:
        The difference, or None if no sample is scored in both.
    """
    pairs = pair_up(old, new, clusters, weights)
    return None if pairs is None else difference_of(pairs, highest, level)


def pair_up(
    old: Numbers, new: Numbers, clusters: npt.NDArray[Any], weights: Numbers | None = None
) -> Pairs | None:
    """Samples that both runs scored, or None. Arguments as for `paired_difference`."""
    known = ~(np.isnan(old) | np.isnan(new))
    if not known.any():
        return None
    names, codes = _numbered(clusters[known])
    return Pairs(
        changes=new[known] - old[known],
        codes=codes,
        names=names,
        weights=_shares(weights, known),
        weighted=weights is not None,
        labels=bool(np.isin(np.abs([old[known], new[known]]), (0.0, 1.0)).all()),
    )


def difference_of(pairs: Pairs, highest: float = math.nan, level: float = LEVEL) -> Difference:
    """The mean difference of pairs. Arguments and result as for `paired_difference`."""
    return differences_of([pairs], [highest], level)[0]


def differences_of(
    many: Sequence[Pairs], highest: Sequence[float], level: float = LEVEL
) -> list[Difference]:
    """Several differences at once, which share the work of permutations.

    Args:
        many: Their pairs.
        highest: The largest possible value of each; NaN if it is not known.
        level: Confidence of the intervals.
    """
    tests = [None if _counts(each) else each.sums for each in many]
    permuted = iter(permutations([sums for sums in tests if sums is not None]))
    found = []
    for pairs, sums, most in zip(many, tests, highest, strict=True):
        if sums is None:
            p, test = mcnemar(int((pairs.sums > 0).sum()), int((pairs.sums < 0).sum())), "McNemar"
        else:
            p, test = next(permuted), "permutation"
        low, high = _ends(pairs, most, level)
        mean = float(pairs.weights @ pairs.changes) / len(pairs.changes)
        size = len(pairs.changes)
        found.append(Difference(mean, low, high, p, test, size, len(pairs.sums)))
    return found


def _counts(pairs: Pairs) -> bool:
    """Whether the numbers of gained and lost images say it all."""
    return pairs.labels and len(pairs.sums) == len(pairs.changes) and not pairs.weighted


def _ends(pairs: Pairs, highest: float, level: float) -> Ends:
    """The interval of a difference; NaN with too few clusters."""
    changes, sums = pairs.changes, pairs.sums
    if len(sums) < FEWEST_CLUSTERS:
        return math.nan, math.nan
    fit = cluster_robust(changes, pairs.codes, pairs.weights)
    if pairs.labels and (highest == 1.0 or math.isnan(highest)):
        gained, lost = (float(pairs.weights @ (sign * changes > 0)) for sign in (1, -1))
        return label_difference_interval(gained, lost, fit, level)
    changed = int(np.count_nonzero(np.abs(sums) > 1e-12))
    return grade_difference_interval(changes, pairs.weights, fit, changed, highest, level)


def mean_interval(
    values: Numbers,
    clusters: npt.NDArray[Any],
    weights: Numbers | None = None,
    highest: float = math.nan,
    level: float = LEVEL,
) -> Ends:
    """Interval of a mean (see `intervals`).

    Args:
        values: One value for each sample; NaN if unscored.
        clusters: Cluster of each sample.
        weights: Weight of each sample, above 0 if it is scored; equal by default.
        highest: Largest possible value, if known (the smallest is 0). Values that are all 0 and 1
            are shares, unless this is above 1.
        level: Confidence of the interval.

    Returns:
        Lower and upper end; NaN with fewer than ten scored clusters, or if nothing varies and the
        range is not known or not kept.
    """
    known = ~np.isnan(values)
    values, codes = values[known], _numbered(clusters[known])[1]
    if not len(codes) or codes.max() + 1 < FEWEST_CLUSTERS:
        return math.nan, math.nan
    fit = cluster_robust(values, codes, _shares(weights, known))
    if (highest == 1.0 or math.isnan(highest)) and np.isin(values, (0.0, 1.0)).all():
        return share_interval(fit, level)
    if math.isnan(highest) or values.min() < 0 or values.max() > highest:
        return t_interval(fit, level)
    return grade_interval(fit, highest, level)


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided McNemar test.

    Args:
        gained: Samples that went from 0 to 1.
        lost: Samples that went from 1 to 0.

    Returns:
        The p-value; 1 if nothing changed.
    """
    return min(1.0, 2 * float(bdtr(min(gained, lost), gained + lost, 0.5)))


def permutation(sums: Numbers) -> float:
    """Two-sided sign-flip test that a sum of differences is zero.

    Args:
        sums: Sum of the differences in each cluster.

    Returns:
        The p-value; 1 if nothing differs.
    """
    return permutations([sums])[0]


def permutations(many: Sequence[Numbers]) -> list[float]:
    """The tests of several sums, each as by `permutation`, at once: that is several times as fast.

    Args:
        many: For each test the sum of the differences in each cluster.
    """
    moved = [sums[sums != 0.0] for sums in many]
    found = [_exact(each) if len(each) <= _EXACT_CLUSTERS else 0.0 for each in moved]
    drawn: dict[int, list[int]] = defaultdict(list)
    for place, each in enumerate(moved):
        if len(each) > _EXACT_CLUSTERS:
            drawn[_width(len(each))].append(place)
    for width, places in drawn.items():
        for start in range(0, len(places), _TOGETHER):
            some = places[start : start + _TOGETHER]
            for place, p in zip(some, _drawn([moved[n] for n in some], width), strict=True):
                found[place] = p
    return found


def _exact(moved: Numbers) -> float:
    if len(moved) == 0:
        return 1.0
    patterns = (np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))) & 1
    return float((np.abs((2 * patterns - 1) @ moved) >= _observed(moved)).mean())


def _observed(moved: Numbers) -> float:
    """Slightly below the observed sum, so that sums that differ only by rounding count as equal."""
    return float(abs(moved.sum()) - 1e-6 * np.abs(moved).sum())


def _drawn(moved: Sequence[Numbers], width: int) -> list[float]:
    """The p-values of tests by random flips, for which signs of equally many clusters are drawn."""
    observed = np.array([_observed(each) for each in moved])
    columns = np.zeros((width, len(moved)), dtype=np.float32)
    for column, each in enumerate(moved):
        columns[: len(each), column] = each
    flips = _sign_table(width)
    extreme = np.zeros(len(moved), dtype=np.int64)
    for start in range(0, PERMUTATIONS, _BLOCK):
        block = flips[start : start + _BLOCK].astype(np.float32)
        extreme += (np.abs(block @ columns) >= observed).sum(axis=0)
    return [_with_bound(int(count), each) for count, each in zip(extreme, moved, strict=True)]


def _with_bound(extreme: int, moved: Numbers) -> float:
    p = (extreme + 1) / (PERMUTATIONS + 1)
    if extreme == 0:
        # Random flips cannot give a p below 1 / (PERMUTATIONS + 1). Hoeffding's bound holds for any
        # sums and can be smaller.
        p = min(p, 2 * math.exp(-(float(moved.sum()) ** 2) / (2 * float(moved @ moved))))
    return p


def holm(p_values: list[float]) -> list[float]:
    """Holm's correction: adjusted p-values of several tests in the same order, at most 1."""
    # As statsmodels' `multipletests`, which runs the garbage collector at each call (0.1 s).
    raw = np.array(p_values)
    order = np.argsort(raw)
    adjusted = np.ones(len(raw))
    adjusted[order] = np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1))
    found: list[float] = np.minimum(adjusted, 1.0).tolist()
    return found


def _numbered(clusters: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.intp]]:
    """The clusters in their order, and of each sample the place of its own among them."""
    # As `np.unique`, which sorts the names of all samples and so takes five times as long.
    codes, names = pd.factorize(clusters, sort=True)
    return names, codes


def _shares(weights: Numbers | None, known: npt.NDArray[np.bool_]) -> Numbers:
    """Weights of the known samples, with a mean of 1."""
    if weights is None:
        return np.ones(int(known.sum()))
    shares: Numbers = weights[known] / weights[known].mean()
    return shares


def _width(clusters: int) -> int:
    """For so many clusters signs are drawn: the next power of two."""
    return 1 << (clusters - 1).bit_length()


# Cached: signs are drawn for powers of two of clusters, so that the tests of many tables share few
# arrays.
@lru_cache(maxsize=4)
def _sign_table(clusters: int) -> npt.NDArray[np.int8]:
    random = np.random.default_rng((_SEED, clusters, 1))
    signs: npt.NDArray[np.int8] = random.integers(
        0, 2, size=(PERMUTATIONS, clusters), dtype=np.int8
    )
    return signs * np.int8(2) - np.int8(1)
