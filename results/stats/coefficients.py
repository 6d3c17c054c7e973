"""Agreement of raters, with intervals that allow for similar answers about one image.

Shares (sensitivity, specificity, precision, prevalence) have the intervals of `intervals`. F1 is a
rising function of one share: of the answers that either rater calls positive, the part that both
do. Cohen's kappa and Krippendorff's alpha have jackknife intervals, which leave out whole images.
Below ten images no coefficient has an interval; kappa and alpha have none if raters never differ.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from vlmguard.results.stats.differences import FEWEST_CLUSTERS, LEVEL, mean_interval
from vlmguard.results.stats.intervals import Numbers, student

Labels = npt.NDArray[np.bool_]
Clusters = npt.NDArray[Any]
_NONE: Final = (math.nan, math.nan)


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; NaN if there is no interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Pair:
    """How a rater's labels compare with a reference's.

    Attributes:
        items: Answers that both labelled.
        clusters: Images among them.
        prevalence: Share of positives by the reference.
        same: Share on which they agree; it is high in any case if positives are rare.
        kappa: Cohen's kappa.
        sensitivity: Of the reference's positives, the share that the rater finds (recall).
        specificity: Of its negatives, the share that the rater calls negative.
        precision: Of the rater's positives, the share that are positive by the reference.
        f1: Harmonic mean of precision and sensitivity.
    """

    items: int
    clusters: int
    prevalence: Estimate
    same: Estimate
    kappa: Estimate
    sensitivity: Estimate
    specificity: Estimate
    precision: Estimate
    f1: Estimate


def compare_labels(reference: Labels, rater: Labels, clusters: Clusters) -> Pair:
    """Compare a rater's labels with a reference's.

    Args:
        reference: Whether each answer is positive by the reference.
        rater: The same by the rater.
        clusters: Image of each answer.
    """
    either = reference | rater
    overlap = _share(reference & rater, either, clusters)
    every = np.ones(len(reference), dtype=bool)
    return Pair(
        items=len(reference),
        clusters=len(np.unique(clusters)),
        prevalence=_share(reference, every, clusters),
        same=_share(reference == rater, every, clusters),
        kappa=_kappa(reference, rater, clusters),
        sensitivity=_share(rater, reference, clusters),
        specificity=_share(~rater, ~reference, clusters),
        precision=_share(reference, rater, clusters),
        f1=Estimate(*(_f1(part) for part in (overlap.value, overlap.low, overlap.high))),
    )


def cohen_kappa(pairs: list[tuple[bool, bool]]) -> float:
    """Cohen's kappa of two raters.

    Args:
        pairs: Both raters' labels for each item.

    Returns:
        -1 to 1; NaN without items, or if chance alone would always agree.
    """
    one, other = (np.array([pair[side] for pair in pairs], dtype=bool) for side in (0, 1))
    return float(_kappas(_table(one, other).sum(axis=0, keepdims=True))[0])


def krippendorff_alpha(
    units: Sequence[Sequence[float]],
    level: Literal["nominal", "interval"],
    clusters: Sequence[str] | None = None,
) -> Estimate:
    """Krippendorff's alpha.

    Args:
        units: The values of each item; items with one value do not count.
        level: Whether values are labels or numbers on a scale.
        clusters: Image of each item; by default each item has its own.

    Returns:
        1 for perfect agreement, 0 for chance; NaN if nothing varies.
    """
    names = [str(place) for place in range(len(units))] if clusters is None else clusters
    known = [(unit, name) for unit, name in zip(units, names, strict=True) if len(unit) > 1]
    values = sorted({value for unit, _ in known for value in unit})
    scale = np.array(values)
    distances = (
        (scale[:, None] - scale[None, :]) ** 2
        if level == "interval"
        else (scale[:, None] != scale[None, :]).astype(float)
    )
    place = {value: number for number, value in enumerate(values)}
    counts = np.zeros((len(known), len(values)))
    for row, (unit, _) in enumerate(known):
        for value in unit:
            counts[row, place[value]] += 1
    observed = np.einsum("ia,ab,ib->i", counts, distances, counts) / np.maximum(
        counts.sum(axis=1) - 1, 1
    )
    codes = _codes(np.array([name for _, name in known]))
    stacked = np.column_stack([observed, counts])
    by_cluster = _sums(stacked, codes)

    def alphas(totals: Numbers) -> Numbers:
        seen, given = totals[:, 0], totals[:, 1:]
        expected = np.einsum("ia,ab,ib->i", given, distances, given)
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Numbers = 1 - (given.sum(axis=1) - 1) * seen / expected
        return np.where(expected > 0, found, math.nan)

    whole = by_cluster.sum(axis=0, keepdims=True)
    value = float(alphas(whole)[0]) if len(known) else math.nan
    ends = _NONE
    if observed.any():
        ends = _jackknife(value, alphas(whole - by_cluster))
    return Estimate(value, *ends)


def _share(values: Labels, among: Labels, clusters: Clusters) -> Estimate:
    if not among.any():
        return Estimate(math.nan, *_NONE)
    known = values[among].astype(np.float64)
    low, high = mean_interval(known, clusters[among], highest=1.0)
    return Estimate(float(known.mean()), low, high)


def _f1(overlap: float) -> float:
    return 2 * overlap / (1 + overlap)


def _kappa(one: Labels, other: Labels, clusters: Clusters) -> Estimate:
    by_cluster = _sums(_table(one, other), _codes(clusters))
    whole = by_cluster.sum(axis=0, keepdims=True)
    value = float(_kappas(whole)[0])
    differ = bool((one != other).any())
    return Estimate(value, *(_jackknife(value, _kappas(whole - by_cluster)) if differ else _NONE))


def _table(one: Labels, other: Labels) -> Numbers:
    """For each item its cell among the four of a table."""
    cells = [one & other, one & ~other, ~one & other, ~one & ~other]
    return np.column_stack(cells).astype(np.float64)


def _kappas(tables: Numbers) -> Numbers:
    both, first, second, none = tables.T
    with np.errstate(divide="ignore", invalid="ignore"):
        items = tables.sum(axis=1)
        observed = (both + none) / items
        one, other = (both + first) / items, (both + second) / items
        expected = one * other + (1 - one) * (1 - other)
        return np.where(expected < 1, (observed - expected) / (1 - expected), math.nan)


def _jackknife(value: float, without: Numbers) -> tuple[float, float]:
    """The 95 % interval from the values with each image left out in turn."""
    count = len(without)
    if count < FEWEST_CLUSTERS or np.isnan(without).any():
        return _NONE
    spread = math.sqrt((count - 1) / count * float(((without - without.mean()) ** 2).sum()))
    width = student(count - 1, LEVEL) * spread
    return max(-1.0, value - width), min(1.0, value + width)


def _codes(clusters: Clusters) -> npt.NDArray[np.intp]:
    _, codes = np.unique(clusters, return_inverse=True)
    return codes


def _sums(rows: Numbers, codes: npt.NDArray[np.intp]) -> Numbers:
    sums = np.zeros((int(codes.max()) + 1 if len(codes) else 0, rows.shape[1]))
    np.add.at(sums, codes, rows)
    return sums
