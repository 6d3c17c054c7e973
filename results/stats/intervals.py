"""Intervals that cover as often as they claim, also for few images and near 0 and 100 %.

Answers about one image resemble each other. The variance is therefore cluster-robust (CR2) with
Satterthwaite's degrees of freedom: Bell and McCaffrey, Survey Methodology 28 (2002); Pustejovsky
and Tipton, J. Bus. Econ. Stat. 36 (2018). For a mean both have a closed form. The form of the
interval depends on the measure:

- shares: Clopper-Pearson at the effective number of samples, Korn and Graubard,
  Survey Methodology 24 (1998);
- grades within a known range: Wilson's score interval at the effective number, since the plain t
  interval covers too rarely if most grades are the highest one;
- differences of labels: Tango's score interval, Statistics in Medicine 17 (1998), at the number of
  pairs, or at the effective number if images have several samples;
- differences of grades: the t interval, but never narrower than Tango's if few changed.

tests/bench/coverage.py simulates how often they cover; results/README.md shows it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, ndtri, stdtrit

Numbers = npt.NDArray[np.float64]
Ends = tuple[float, float]

# If fewer clusters than this changed, the t interval of a difference is not used alone.
_FEW_CHANGED: Final = 20
# This part of the largest possible variance is added, in case grades are close together by chance.
_UNSEEN: Final = 0.03
_EXACT: Final = 1e-15
"""A difference of shares is known to this."""


@dataclass(frozen=True)
class Fit:
    """A mean and its precision.

    Attributes:
        mean: Weighted mean.
        variance: CR2 variance of the mean.
        df: Satterthwaite's degrees of freedom.
        samples: Number of samples.
        clusters: Number of clusters.
        independent: Whether every cluster has one sample and all weights are equal.
        alike: Number of clusters of equal weight with the same precision (Kish).
    """

    mean: float
    variance: float
    df: float
    samples: int
    clusters: int
    independent: bool
    alike: float


def cluster_robust(values: Numbers, codes: npt.NDArray[np.intp], weights: Numbers) -> Fit:
    """Fit a mean to clustered values.

    The working model is independent values with variances inverse to the weights.

    Args:
        values: One value for each sample, without NaN.
        codes: Cluster of each sample, numbered from 0 without gaps; two or more.
        weights: Weight of each sample, above 0.
    """
    sizes = np.bincount(codes, weights=weights)
    total = float(sizes.sum())
    mean = float(weights @ values) / total
    residuals = np.bincount(codes, weights=weights * (values - mean))
    inflated = 1 / (1 - sizes / total)
    # Sums of equal values differ by rounding, which is not variance.
    residuals[np.abs(residuals) < 1e-10 * (weights @ np.abs(values)) / total] = 0.0
    variance = float(inflated @ residuals**2) / total**2
    crossed = inflated * sizes**2
    spread = float(sizes @ sizes) + (crossed.sum() ** 2 - float(crossed @ crossed)) / total**2
    return Fit(
        mean=mean,
        variance=variance,
        df=total**2 / spread,
        samples=len(values),
        clusters=len(sizes),
        independent=len(sizes) == len(values) and bool(np.ptp(weights) == 0),
        alike=total**2 / float(sizes @ sizes),
    )


def t_interval(fit: Fit, level: float) -> Ends:
    """Student's interval; NaN if nothing varies, since the variance is then not known."""
    if fit.variance <= 0:
        return math.nan, math.nan
    reach = student(fit.df, level) * math.sqrt(fit.variance)
    return fit.mean - reach, fit.mean + reach


def share_interval(fit: Fit, level: float) -> Ends:
    """Clopper and Pearson's interval of a share, at the effective number of samples."""
    share, spread = fit.mean, fit.mean * (1 - fit.mean)
    samples = _effective(fit, spread / max(fit.samples - 1, 1))
    if not fit.independent:
        samples *= (_z(level) / student(fit.df, level)) ** 2
    tail, count = (1 - level) / 2, share * samples
    low = 0.0 if share <= 0 else float(betaincinv(count, samples - count + 1, tail))
    high = 1.0 if share >= 1 else float(betaincinv(count + 1, samples - count, 1 - tail))
    return low, high


def grade_interval(fit: Fit, highest: float, level: float) -> Ends:
    """Wilson's interval of a mean of values from 0 to `highest`, at the effective number."""
    share = min(max(fit.mean / highest, 0.0), 1.0)
    largest = share * (1 - share) / fit.alike
    if largest <= 0:
        samples = fit.alike
    else:
        ratio = fit.variance / highest**2 / largest
        samples = fit.alike / max(ratio, ratio + _UNSEEN * (1 - ratio))
    t = student(fit.df, level)
    center = (share + t * t / (2 * samples)) / (1 + t * t / samples)
    reach = math.sqrt(share * (1 - share) / samples + t * t / (4 * samples**2))
    reach *= t / (1 + t * t / samples)
    return max(center - reach, 0.0) * highest, min(center + reach, 1.0) * highest


def label_difference_interval(gained: float, lost: float, fit: Fit, level: float) -> Ends:
    """Tango's interval of a difference of labels, at the effective number of pairs.

    Args:
        gained: Number, or weight, of pairs that went from 0 to 1.
        lost: Pairs that went from 1 to 0.
        fit: Of the differences.
        level: E.g. 0.95.

    Returns:
        Lower and upper end.
    """
    pairs = fit.samples
    spread = (gained + lost - (gained - lost) ** 2 / pairs) / pairs
    effective = _effective(fit, spread / max(pairs - 1, 1))
    width = _z(level) if fit.independent else student(fit.df, level)
    scale = effective / pairs
    return tango(gained * scale, lost * scale, effective, width)


def grade_difference_interval(
    differences: Numbers, weights: Numbers, fit: Fit, changed: int, reach: float, level: float
) -> Ends:
    """Student's interval of a difference of grades, wider if few clusters changed.

    Args:
        differences: New minus old.
        weights: Weight of each sample; their mean is 1.
        fit: Of the differences.
        changed: Clusters whose sum of differences is not 0.
        reach: Largest possible difference; NaN if it is not known.
        level: E.g. 0.95.

    Returns:
        Lower and upper end; NaN if all differences are the same and `reach` is not known.
    """
    if fit.variance <= 0:
        # A change that no cluster shows may still be this frequent: the exact upper limit of a
        # share without any event in `alike` clusters.
        unseen = 1 - ((1 - level) / 2) ** (1 / fit.alike)
        return (
            fit.mean - unseen * (fit.mean + reach),
            fit.mean + unseen * (reach - fit.mean),
        )
    low, high = t_interval(fit, level)
    if changed < min(_FEW_CHANGED, fit.clusters):
        # Tango's interval as if each change had the typical size: with few changes, the sample
        # variance misses those that were not seen.
        sizes = weights * np.abs(differences)
        unit = float(sizes @ np.abs(differences) / sizes.sum())
        gained = float(weights @ np.maximum(differences, 0)) / unit
        lost = float(weights @ np.maximum(-differences, 0)) / unit
        scaled = replace(fit, mean=fit.mean / unit, variance=fit.variance / unit**2)
        ends = label_difference_interval(gained, lost, scaled, level)
        low, high = min(low, ends[0] * unit), max(high, ends[1] * unit)
    return (low, high) if math.isnan(reach) else (max(low, -reach), min(high, reach))


def tango(gained: float, lost: float, pairs: float, width: float) -> Ends:
    """Tango's score interval of a difference of paired shares.

    Args:
        gained: Number of pairs that went from 0 to 1; need not be whole.
        lost: Pairs that went from 1 to 0.
        pairs: All pairs.
        width: Quantile, e.g. 1.96.

    Returns:
        Lower and upper end, from -1 to 1.
    """
    observed = (gained - lost) / pairs

    def score(difference: float) -> float:
        """By how many standard errors the observed difference is above this one."""
        b = -gained - lost + (2 * pairs - gained + lost) * difference
        c = -lost * difference * (1 - difference)
        root = math.sqrt(max(b * b - 8 * pairs * c, 0.0))
        variance = 2 * (root - b) / (4 * pairs) + difference * (1 - difference)
        distance = observed - difference
        if variance <= 0:
            return math.copysign(math.inf, distance) if distance else 0.0
        return distance * math.sqrt(pairs / variance)

    # The score falls with the difference, from infinity to minus infinity.
    low, high = -1.0, 1.0
    if observed > -1:
        low = _root(lambda at: score(at) - width, -1, observed)
    if observed < 1:
        high = _root(lambda at: score(at) + width, observed, 1)
    return low, high


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that falls from `low` to `high` is 0, as exactly as floats allow.

    Args:
        function: It is above 0 at `low` and below at `high`.
        low: -1 or more.
        high: 1 or less.
    """
    # As scipy's `bisect`, whose module takes longer to import than a known board to show.
    while high - low > _EXACT:
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) > 0 else (low, middle)
    return (low + high) / 2


def _effective(fit: Fit, variance: float) -> float:
    """The number of independent samples with the same precision.

    Args:
        fit: The observed fit.
        variance: Variance of the mean, if all samples were independent.

    Returns:
        At most the number of samples; if nothing varies, each cluster counts once.
    """
    if variance <= 0:
        return fit.alike
    return fit.samples if fit.independent else fit.samples / max(1.0, fit.variance / variance)


def student(df: float, level: float) -> float:
    """Student's quantile for a two-sided interval, e.g. 2.26 at 9 degrees of freedom and 0.95."""
    return float(stdtrit(df, (1 + level) / 2))


def _z(level: float) -> float:
    return float(ndtri((1 + level) / 2))
