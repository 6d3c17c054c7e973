"""Intervals against brute force, against statsmodels, and against published numbers."""

import math

import numpy as np
import pytest
from scipy import linalg, optimize, stats
from statsmodels.stats.proportion import proportion_confint

from vlmguard.results.stats.differences import mean_interval, paired_difference
from vlmguard.results.stats.intervals import cluster_robust, tango


def brute_force(values, codes, weights):  # type: ignore[no-untyped-def]
    """CR2 and Satterthwaite's degrees of freedom with full n x n matrices."""
    n = len(values)
    root = np.sqrt(weights)
    x, y = root[:, None], root * values
    bread = 1 / float(weights.sum())
    hat = x @ x.T * bread
    residuals = y - hat @ y
    variance, rows = 0.0, []
    for code in np.unique(codes):
        here = np.flatnonzero(codes == code)
        adjust = linalg.fractional_matrix_power(
            np.eye(len(here)) - hat[np.ix_(here, here)], -0.5
        ).real
        score = bread * x[here, 0] @ adjust
        variance += float(score @ residuals[here]) ** 2
        rows.append(score @ (np.eye(n) - hat)[here])
    products = np.array(rows) @ np.array(rows).T
    df = np.trace(products) ** 2 / (products**2).sum()
    return float(bread * (x[:, 0] @ y)), variance, df


@pytest.mark.parametrize("weighted", [False, True])
def test_closed_forms_of_cr2_and_satterthwaite(weighted: bool) -> None:
    random = np.random.default_rng(0)
    codes = np.repeat(np.arange(7), [1, 1, 2, 3, 5, 8, 1])
    values = random.normal(size=len(codes)) + random.normal(size=7)[codes]
    weights = random.uniform(0.2, 3, size=len(codes)) if weighted else np.ones(len(codes))
    fit = cluster_robust(values, codes, weights)
    mean, variance, df = brute_force(values, codes, weights)
    assert (fit.mean, fit.variance, fit.df) == pytest.approx((mean, variance, df))


def test_equal_clusters_are_the_t_test_of_their_means() -> None:
    values = np.random.default_rng(1).normal(size=(12, 4))
    found = paired_difference(np.zeros(48), values.ravel(), np.repeat(np.arange(12), 4))
    assert found is not None
    means = stats.ttest_1samp(values.mean(axis=1), 0).confidence_interval()
    # Fewer than twenty clusters changed, so it is never narrower.
    assert found.low <= means.low + 1e-9
    assert found.high >= means.high - 1e-9
    many = np.random.default_rng(1).normal(size=(30, 4))
    found = paired_difference(np.zeros(120), many.ravel(), np.repeat(np.arange(30), 4))
    assert found is not None
    means = stats.ttest_1samp(many.mean(axis=1), 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((means.low, means.high))


@pytest.mark.parametrize("hits", [0, 1, 7, 39, 40])
def test_share_of_separate_images_is_clopper_and_pearson(hits: int) -> None:
    values = np.array([1.0] * hits + [0.0] * (40 - hits))
    expected = proportion_confint(hits, 40, method="beta")
    assert mean_interval(values, np.arange(40)) == pytest.approx(expected)


def test_share_of_images_whose_samples_agree_counts_images() -> None:
    # Twenty images of five equal samples are as precise as twenty samples, or less.
    images = np.array([1.0] * 12 + [0.0] * 8)
    low, high = mean_interval(np.repeat(images, 5), np.repeat(np.arange(20), 5))
    alone = proportion_confint(12, 20, method="beta")
    assert low == pytest.approx(alone[0], abs=0.03)
    assert high == pytest.approx(alone[1], abs=0.03)
    assert high - low >= (alone[1] - alone[0]) * 0.99


@pytest.mark.parametrize(
    ("gained", "lost", "pairs"), [(9, 5, 50), (1, 0, 44), (1, 2, 20), (7, 0, 12)]
)
def test_tango_ends_where_the_score_test_just_rejects(gained: int, lost: int, pairs: int) -> None:
    def score(difference: float) -> float:
        """By the likelihood, maximised numerically under this difference."""

        def badness(other: float) -> float:
            shares = (other + difference, other, 1 - 2 * other - difference)
            counts = (gained, lost, pairs - gained - lost)
            return -sum(n * math.log(max(p, 1e-300)) for n, p in zip(counts, shares, strict=True))

        bounds = (max(0.0, -difference), (1 - difference) / 2)
        other = optimize.minimize_scalar(
            badness, bounds=bounds, method="bounded", options={"xatol": 1e-12}
        ).x
        variance = (2 * other + difference - difference**2) / pairs
        return ((gained - lost) / pairs - difference) / math.sqrt(variance)

    low, high = tango(gained, lost, pairs, 1.959964)
    assert score(low) == pytest.approx(1.959964, abs=1e-3)
    assert score(high) == pytest.approx(-1.959964, abs=1e-3)


def test_tango_by_hand_where_nothing_changed() -> None:
    # The score is then difference * sqrt(n / (d (1 - d))): d = z^2 / (n + z^2).
    assert tango(0, 0, 16, 2.0) == pytest.approx((-4 / 20, 4 / 20))
    assert tango(16, 0, 16, 2.0) == pytest.approx(((16 - 4) / 20, 1.0))


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("values", [0.0, 1.0])
def test_no_interval_of_shares_has_zero_width(values: float, clustered: bool) -> None:
    clusters = np.repeat(np.arange(12), 2) if clustered else np.arange(24)
    same = np.full(24, values)
    low, high = mean_interval(same, clusters)
    # No exception in n: at most 1 - 0.025^(1/n), n being images.
    images = len(set(clusters))
    unseen = 1 - 0.025 ** (1 / images)
    assert high - low >= 0.8 * unseen
    assert (low == 0.0) if values == 0 else (high == 1.0)
    found = paired_difference(same, same, clusters)
    assert found is not None
    assert found.low < 0 < found.high


def test_grades_that_are_all_alike_are_not_certain() -> None:
    best = np.full(30, 10.0)
    low, high = mean_interval(best, np.arange(30), highest=10.0)
    assert high == 10.0
    assert 8.5 < low < 9.0
    gained = paired_difference(np.full(30, 3.0), np.full(30, 9.0), np.arange(30), highest=10.0)
    assert gained is not None
    assert gained.low < 6 < gained.high
    # Without a known range there is no interval.
    assert all(math.isnan(end) for end in mean_interval(best, np.arange(30)))


def test_intervals_stay_in_the_range() -> None:
    values = np.array([10.0] * 14 + [4.0])
    low, high = mean_interval(values, np.arange(15), highest=10.0)
    assert 0 < low < values.mean() < high <= 10
    found = paired_difference(values - values, values, np.arange(15), highest=10.0)
    assert found is not None
    assert found.high <= 10


def test_few_changes_are_not_taken_for_symmetric() -> None:
    # Three of sixty images lose 6 points: t is symmetric.
    changed = np.array([-6.0] * 3 + [0.0] * 57)
    found = paired_difference(np.full(60, 8.0), 8 + changed, np.arange(60), highest=10.0)
    assert found is not None
    plain = stats.ttest_1samp(changed, 0).confidence_interval()
    assert found.low < plain.low
    assert found.high >= plain.high


def test_fewer_than_ten_images_have_no_interval() -> None:
    values = np.array([0.0, 1.0] * 27)
    nine, ten = np.arange(54) % 9, np.arange(54) % 10
    assert all(math.isnan(end) for end in mean_interval(values, nine))
    assert all(not math.isnan(end) for end in mean_interval(values, ten))
    few, enough = (paired_difference(values, 1 - values, each) for each in (nine, ten))
    assert few is not None
    assert enough is not None
    assert math.isnan(few.low)
    assert few.clusters == 9
    assert not math.isnan(enough.low)


def test_weights_count_like_copies_of_a_share() -> None:
    values = np.array([1.0] * 30 + [0.0] * 10)
    weights = np.where(values > 0, 0.5, 2.5)
    low, high = mean_interval(values, np.arange(40), weights)
    assert low < 15 / 40 < high
    # The scale of the weights does not matter.
    assert mean_interval(values, np.arange(40), 7 * weights) == pytest.approx((low, high))
    # Fewer samples determine the mean, so it is less precise than with 40 equal weights.
    even = mean_interval(np.array([1.0] * 15 + [0.0] * 25), np.arange(40))
    assert high - low > even[1] - even[0]


def test_intervals_hold_what_they_say() -> None:
    """A small table of tests/bench/coverage.py: the cells that failed most before."""
    random = np.random.default_rng(3)
    for clusters, size, rate in ((10, 1, 0.95), (30, 1, 0.95), (10, 3, 0.95), (40, 2, 0.5)):
        codes = np.repeat(np.arange(clusters), size)
        held = [0, 0]
        for _ in range(300):
            # Half of the images have equal samples.
            own = random.random(len(codes))
            own[:] = np.where((codes % 2 == 0), random.random(clusters)[codes], own)
            new, old = (own < rate).astype(float), (random.random(len(codes)) < 0.6).astype(float)
            low, high = mean_interval(new, codes)
            found = paired_difference(old, new, codes)
            assert found is not None
            held[0] += low <= rate <= high
            held[1] += found.low <= rate - 0.6 <= found.high
        assert min(held) / 300 >= 0.92
