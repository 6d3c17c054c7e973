"""Computes how many samples a table or the gate needs to detect a difference.

    vlmguard power LOG_A LOG_B --difference 5
    vlmguard power --rate 0.7 --agreement 0.8 --difference 5 --power 0.8
    vlmguard power --rate 0.05 --agreement 0.95 --difference 3 --sensitivity 0.9 --specificity 0.9

The formula is that of the paired t-test on images, with Guenther's correction (Sankhya B 43, 1981);
for labels the variance is that of the discordant pairs (Connor, Biometrics 43, 1987). For people's
labels: prediction-powered inference with the best weight of the judge (Angelopoulos, Duchi and
Zrnic, PPI++, arXiv 2311.01453). tests/results/test_power.py checks them by simulation.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass

from scipy.special import ndtri

from vlmguard.guard.errors import UserError
from vlmguard.results.gate.compare import ALPHA as GATE_ALPHA
from vlmguard.results.leaderboard.comparisons import ALPHA, PRIMARY_SHARE
from vlmguard.results.stats.differences import Pairs
from vlmguard.results.stats.intervals import cluster_robust


@dataclass(frozen=True)
class Pilot:
    """How much paired differences vary.

    Attributes:
        variance: Variance of the mean difference, times the number of images; in units of the
            range.
        samples: Mean number of samples per image.
    """

    variance: float
    samples: float = 1.0


@dataclass(frozen=True)
class Aim:
    """The difference to detect.

    Attributes:
        difference: True difference, as a share of the range, above 0.
        power: Probability of detecting it, e.g. 0.8.
        comparisons: Differences of the primary endpoint in the table.
        others: Other measures that the table tests, if this is a difference of one of them; 0 for
            the primary endpoint.
    """

    difference: float
    power: float
    comparisons: int = 1
    others: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.difference < 1:
            raise UserError("--difference: points of the range, above 0 and below 100.")
        if not 0.5 <= self.power < 1:
            raise UserError("--power: a share from 0.5 to below 1.")

    @property
    def alpha(self) -> float:
        """Level of one two-sided test, by Bonferroni."""
        if self.others:
            return ALPHA * (1 - PRIMARY_SHARE) / (self.others * self.comparisons)
        return ALPHA * PRIMARY_SHARE / self.comparisons


def pilot_of(pairs: Pairs, highest: float) -> Pilot | None:
    """The variance in two logs; None if nothing differs, or with a single image."""
    images = len(pairs.names)
    if images < 2:
        return None
    fit = cluster_robust(pairs.changes / highest, pairs.codes, pairs.weights)
    if fit.variance <= 0:
        return None
    return Pilot(fit.variance * images, len(pairs.changes) / images)


def assumed(agreement: float, difference: float) -> Pilot:
    """The variance of labels with an assumed agreement and one sample of each image.

    Args:
        agreement: Share of samples that have the same label in both runs.
        difference: True difference of the shares.

    Raises:
        UserError: The agreement is too high for such a difference.
    """
    if not 0 <= agreement <= 1 - difference:
        raise UserError(
            f"--agreement {agreement:g}: with a difference of {difference * 100:g} points it lies "
            f"from 0 to {1 - difference:g}."
        )
    return Pilot(1 - agreement - difference**2)


def table_images(pilot: Pilot, aim: Aim) -> int:
    """Images that the two-sided test of a table needs."""
    return _images(pilot.variance, aim.difference, ndtri(1 - aim.alpha / 2), ndtri(aim.power))


def gate_images(pilot: Pilot, aim: Aim, tolerance: float, measures: int) -> int | None:
    """Images that the gate needs to fail at a true loss, if its baseline is not deterministic.

    Args:
        pilot: The variance.
        aim: The loss.
        tolerance: Tolerated loss: the observed loss must be above it.
        measures: Measures of the one run in the gate, for which its one-sided test is corrected.

    Returns:
        Their number; None if the true loss is not above the tolerance.
    """
    if aim.difference <= tolerance:
        return None
    reach = ndtri(1 - GATE_ALPHA / measures)
    proven = _images(pilot.variance, aim.difference, reach, ndtri(aim.power))
    above = (ndtri(aim.power) / (aim.difference - tolerance)) ** 2 * pilot.variance
    return max(proven, math.ceil(float(above)))


def smallest(pilot: Pilot, aim: Aim, images: int) -> float:
    """The smallest difference that this number of images detects, as a share of the range."""
    reach = ndtri(1 - aim.alpha / 2)
    usable = max(images - reach**2 / 2, 1.0)
    return float((reach + ndtri(aim.power)) * math.sqrt(pilot.variance / usable))


def labels_needed(
    pilot: Pilot, aim: Aim, rate: float, sensitivity: float, specificity: float, samples: int
) -> int | None:
    """Labels by people that a calibrated difference needs, in each of the two runs.

    Args:
        pilot: The variance of the true labels, with one sample of each image.
        aim: The difference of the true rates.
        rate: True rate of the first run.
        sensitivity: Share of true 1 that the judge labels 1.
        specificity: Share of true 0 that it labels 0.
        samples: Samples that the judge labels.

    Returns:
        Their number, at most `samples`; None if all of them are not enough.
    """
    covariance, judged = judge_moments(pilot, aim.difference, rate, sensitivity, specificity)
    wanted = (aim.difference / (ndtri(1 - aim.alpha / 2) + ndtri(aim.power))) ** 2
    # If people label all samples, the judge adds nothing.
    if pilot.variance / samples > wanted:
        return None

    def enough(labels: int) -> bool:
        saved = covariance**2 / judged * (1 - labels / samples)
        return bool((pilot.variance - saved) / labels <= wanted)

    return 1 + bisect_left(range(1, samples), True, key=enough)


def judge_moments(
    pilot: Pilot, difference: float, rate: float, sensitivity: float, specificity: float
) -> tuple[float, float]:
    """Covariance of true and judged differences of a sample, and variance of the judged one.

    The judge errs independently in both runs.
    """
    informed = sensitivity + specificity - 1
    if informed <= 0:
        raise UserError("--sensitivity and --specificity: a judge below 1 together says nothing.")
    noise = sum(
        p * sensitivity * (1 - sensitivity) + (1 - p) * specificity * (1 - specificity)
        for p in (rate, rate + difference)
    )
    return informed * pilot.variance, informed**2 * pilot.variance + noise


def _images(variance: float, difference: float, alpha_z: float, power_z: float) -> int:
    needed = (alpha_z + power_z) ** 2 * variance / difference**2 + alpha_z**2 / 2
    return math.ceil(needed - 1e-9)
