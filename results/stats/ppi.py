"""Means of a judge's verdicts corrected by a labelled random subset: prediction-powered inference.

Angelopoulos, Bates, Fannjiang, Jordan and Zrnic, Science 382 (2023), with the tuned weight of
Angelopoulos, Duchi and Zrnic, "PPI++" (arXiv 2311.01453). The mean of the verdicts over all answers
is as biased as the judge. The labels estimate its errors, which are added:

    corrected = w * mean(verdicts) + mean over labelled(label - w * verdict)

with the weight `w` that gives the smallest variance: 1 for a judge that never errs, 0 for one
without information, where only the labels count. The labelled answers are among all answers here,
so the variance is that of the sum of both terms for each image.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vlmguard.results.stats.differences import FEWEST_CLUSTERS, LEVEL
from vlmguard.results.stats.intervals import Numbers, student


@dataclass(frozen=True)
class Judged:
    """A run's answers.

    Attributes:
        verdicts: The judge's value of each answer; NaN if it gave none.
        labels: People's value of each answer; NaN if it is not labelled.
        clusters: Image of each answer.
    """

    verdicts: Numbers
    labels: Numbers
    clusters: npt.NDArray[Any]


@dataclass(frozen=True)
class Corrected:
    """A corrected mean or difference.

    Attributes:
        value: In the measure's unit.
        low: Lower end of the 95 % interval, which includes the noise of labels and verdicts; NaN
            with fewer than ten labelled images.
        high: Upper end.
    """

    value: float
    low: float
    high: float


def corrected_mean(run: Judged, share: bool) -> Corrected:
    """The mean of a run.

    Args:
        run: Its answers, of which at least two are labelled, drawn at random.
        share: Whether values are 0 or 1.

    Returns:
        The corrected mean over all answers, including those without a verdict.
    """
    found = _combined([(1.0, run)], share)
    return Corrected(found.value, *np.clip([found.low, found.high], 0, 1)) if share else found


def corrected_difference(old: Judged, new: Judged, share: bool) -> Corrected:
    """The difference of two runs: new minus old.

    Args:
        old: The first run.
        new: The second run; images in both are treated as dependent.
        share: Whether values are 0 or 1.

    Returns:
        The difference of their corrected means.
    """
    return _combined([(1.0, new), (-1.0, old)], share)


def _combined(runs: Sequence[tuple[float, Judged]], share: bool) -> Corrected:
    value, unseen = 0.0, 0.0
    influence: list[Numbers] = []
    for sign, run in runs:
        verdicts = np.where(np.isnan(run.verdicts), np.nanmean(run.verdicts), run.verdicts)
        labelled = ~np.isnan(run.labels)
        labels, seen = run.labels[labelled], verdicts[labelled]
        spread = float(seen.var())
        slope = float(((labels - labels.mean()) * (seen - seen.mean())).mean())
        weight = min(1.0, max(0.0, slope / spread)) if spread else 0.0
        errors = labels - weight * seen
        value += sign * (weight * float(verdicts.mean()) + float(errors.mean()))
        each = weight * (verdicts - verdicts.mean()) / len(verdicts)
        each[labelled] += (errors - errors.mean()) / len(errors)
        influence.append(sign * each)
        # Count one more error of each kind than was seen, since few labels may miss a rare kind.
        unseen += 2 / len(errors) ** 2 if share else 0.0
    clusters = np.concatenate([run.clusters for _, run in runs])
    _, codes = np.unique(clusters, return_inverse=True)
    sums = np.bincount(codes, weights=np.concatenate(influence))
    images = min(len(np.unique(run.clusters[~np.isnan(run.labels)])) for _, run in runs)
    variance = float(sums @ sums) * len(sums) / max(len(sums) - 1, 1) + unseen
    if images < FEWEST_CLUSTERS or not variance:
        return Corrected(value, math.nan, math.nan)
    width = student(images - 1, LEVEL) * math.sqrt(variance)
    return Corrected(value, value - width, value + width)
