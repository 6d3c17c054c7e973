"""Our statistics compared with those of scipy and statsmodels, if these have the same ones."""

import math
from functools import partial

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from scipy.spatial.distance import pdist
from statsmodels.stats.contingency_tables import mcnemar as their_mcnemar
from statsmodels.stats.inter_rater import aggregate_raters, cohens_kappa, fleiss_kappa
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from vlmguard.guard.thresholds import threshold_above
from vlmguard.results.gate.losses import part, smallest_provable
from vlmguard.results.stats.coefficients import compare_labels, krippendorff_alpha
from vlmguard.results.stats.differences import (
    holm,
    mcnemar,
    mean_interval,
    paired_difference,
    permutation,
)
from vlmguard.results.stats.intervals import cluster_robust, t_interval, tango
from vlmguard.results.stats.max_t import Sums, westfall_young
from vlmguard.results.stats.ppi import Judged, corrected_difference, corrected_mean

exactly = partial(pytest.approx, rel=1e-9)
EQUAL = np.repeat(np.arange(24), 3)
"""Three answers to each of 24 images: here CR2 is the variance that statsmodels has."""


def clustered(seed: int, codes: np.ndarray = EQUAL) -> np.ndarray:
    """Values that resemble each other within an image."""
    random = np.random.default_rng(seed)
    return random.normal(size=len(codes)) + random.normal(size=codes.max() + 1)[codes]


def ols(values: np.ndarray, codes: np.ndarray):  # type: ignore[no-untyped-def]
    """A mean, with statsmodels' cluster-robust variance and Student's t on the clusters."""
    model = sm.OLS(values, np.ones(len(values)))
    return model.fit(cov_type="cluster", cov_kwds={"groups": codes}, use_t=True)


# Tests.


@pytest.mark.parametrize(("gained", "lost"), [(0, 1), (3, 3), (8, 1), (40, 61), (900, 1100)])
def test_mcnemar_is_the_binomial_test(gained: int, lost: int) -> None:
    assert mcnemar(gained, lost) == exactly(stats.binomtest(gained, gained + lost).pvalue)
    theirs = their_mcnemar([[0, gained], [lost, 0]], exact=True).pvalue
    assert mcnemar(gained, lost) == exactly(theirs)


@pytest.mark.parametrize(("images", "tolerance"), [(5, 1e-12), (12, 1e-12), (14, 0.006)])
def test_permutation_is_scipys(images: int, tolerance: float) -> None:
    """All flips for up to twelve images, then a random part of them."""
    sums = np.random.default_rng(images).normal(0.4, 1, size=images)
    theirs = stats.permutation_test(
        (sums,), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    assert permutation(sums) == pytest.approx(theirs.pvalue, abs=tolerance)


def test_steps_of_max_t_are_scipys_tests_of_the_highest() -> None:
    """The most significant difference against the maximum of all, the next against the rest."""
    names = np.array([f"i{number}" for number in range(10)])
    table = np.random.default_rng(7).normal([0.9, 0.5, 0.1], 1, size=(10, 3))
    found = westfall_young([Sums("pool", names, column) for column in table.T])
    scaled = table / np.sqrt((table**2).sum(axis=0))
    order = np.argsort(-np.abs(scaled.sum(axis=0)))
    lowest = 0.0
    for step, place in enumerate(order):
        left = scaled[:, order[step:]]
        theirs = stats.permutation_test(
            (np.ones(10),),
            lambda signs, left=left: np.abs(signs @ left).max(),  # type: ignore[misc]
            permutation_type="samples",
            vectorized=False,
            alternative="greater",
            n_resamples=np.inf,
        )
        lowest = max(lowest, theirs.pvalue)
        assert found[place] == exactly(lowest)


@pytest.mark.parametrize("size", [1, 2, 9])
def test_holm_is_that_of_statsmodels(size: int) -> None:
    p_values = np.random.default_rng(size).random(size) ** 3
    assert holm(p_values.tolist()) == exactly(multipletests(p_values, method="holm")[1])


def test_a_loss_in_the_gate_is_tested_on_one_side() -> None:
    images = np.arange(40)
    old = np.ones(40)
    labels = np.where(images < 9, 0.0, 1.0)
    old[:2] = 0.0
    labels[:2] = 1.0
    names = [f"s{number}" for number in images]
    lost = part("", old, labels, old, images, names)
    assert lost.p == exactly(stats.binomtest(2, 9, alternative="less").pvalue)
    grades = np.where(images < 9, np.linspace(-3, 1, 40), 0.0)
    seen = part("", np.zeros(40), grades, old, images, names)
    theirs = stats.permutation_test(
        (grades[:9],), np.sum, permutation_type="samples", alternative="less", n_resamples=np.inf
    )
    assert seen.p == exactly(theirs.pvalue)


def test_the_smallest_provable_loss_is_the_quantile_of_all_flips() -> None:
    moved = np.random.default_rng(14).normal(size=12)
    flips = stats.permutation_test(
        (moved,), np.sum, permutation_type="samples", n_resamples=np.inf
    ).null_distribution
    little = np.full(12, 1e-6)
    images = np.arange(12)
    names = [f"s{number}" for number in images]
    looked_at = part("", np.zeros(12), moved, little, images, names)
    found = smallest_provable(looked_at, 0.05) * 12
    # Twenty thousand random flips against all 4,096.
    assert found == pytest.approx(np.quantile(flips, 0.95), rel=0.02)


# Intervals.


def test_equal_clusters_have_the_variance_and_the_interval_of_statsmodels() -> None:
    values = clustered(1)
    fit = cluster_robust(values, EQUAL, np.ones(len(EQUAL)))
    theirs = ols(values, EQUAL)
    assert (fit.mean, fit.variance) == exactly((theirs.params[0], theirs.bse[0] ** 2))
    assert fit.df == exactly(23)
    assert t_interval(fit, 0.9) == exactly(tuple(theirs.conf_int(alpha=0.1)[0]))
    assert mean_interval(values, EQUAL) == exactly(tuple(theirs.conf_int()[0]))


def test_single_samples_with_weights_have_the_variance_hc2() -> None:
    random = np.random.default_rng(2)
    values, weights = random.normal(size=30), random.uniform(0.2, 3, size=30)
    fit = cluster_robust(values, np.arange(30), weights)
    theirs = sm.WLS(values, np.ones(30), weights=weights).fit(cov_type="HC2")
    assert (fit.mean, fit.variance) == exactly((theirs.params[0], theirs.bse[0] ** 2))


def test_a_share_of_clustered_labels_is_clopper_and_pearson_at_the_effective_number() -> None:
    labels = (clustered(3) > -0.5).astype(float)
    theirs = ols(labels, EQUAL)
    share = labels.mean()
    inflation = theirs.bse[0] ** 2 / (share * (1 - share) / (len(labels) - 1))
    assert inflation > 1.3
    samples = len(labels) / inflation * (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 23)) ** 2
    expected = proportion_confint(share * samples, samples, method="beta")
    assert mean_interval(labels, EQUAL) == exactly(expected)


def test_a_mean_grade_is_wilsons_at_the_effective_number() -> None:
    # Only grades of 0 and 10: their variance is that of n - 1 labels.
    grades = np.array([10.0] * 22 + [0.0] * 8)
    quantile = stats.t.ppf(0.975, 29)
    alpha = 2 * stats.norm.sf(quantile)
    low, high = proportion_confint(22 / 30 * 29, 29, alpha=alpha, method="wilson")
    found = mean_interval(grades, np.arange(30), highest=10.0)
    assert found == exactly((10 * low, 10 * high))


def test_a_difference_of_grades_is_that_of_statsmodels_where_many_changed() -> None:
    old, new = clustered(4), clustered(5) + 0.5
    found = paired_difference(old, new, EQUAL)
    assert found is not None
    theirs = ols(new - old, EQUAL)
    assert (found.low, found.high) == exactly(tuple(theirs.conf_int()[0]))


def test_a_difference_of_clustered_labels_is_tangos_at_the_effective_number() -> None:
    old, new = (clustered(15) > 0.3).astype(float), (clustered(16) > -0.6).astype(float)
    found = paired_difference(old, new, EQUAL)
    assert found is not None
    gained, lost, pairs = ((new > old).sum(), (new < old).sum(), len(EQUAL))
    independent = (new - old).var() / (pairs - 1)
    inflation = ols(new - old, EQUAL).bse[0] ** 2 / independent
    assert inflation > 1.1
    ends = tango(gained / inflation, lost / inflation, pairs / inflation, stats.t.ppf(0.975, 23))
    assert (found.low, found.high) == exactly(ends)


# Agreement.


def test_kappas_interval_is_a_jackknife_of_statsmodels_kappas() -> None:
    random = np.random.default_rng(6)
    reference = random.random(len(EQUAL)) < 0.4
    rater = np.where(random.random(len(EQUAL)) < 0.2, ~reference, reference)

    def kappa(kept: np.ndarray) -> float:
        table = np.zeros((2, 2))
        np.add.at(table, (reference[kept].astype(int), rater[kept].astype(int)), 1)
        return float(cohens_kappa(table).kappa)

    without = np.array([kappa(image != EQUAL) for image in range(24)])
    error = math.sqrt(23 / 24 * ((without - without.mean()) ** 2).sum())
    value, reach = kappa(EQUAL >= 0), stats.t.ppf(0.975, 23) * error
    found = compare_labels(reference, rater, EQUAL).kappa
    assert (found.value, found.low, found.high) == exactly((value, value - reach, value + reach))


def test_alpha_of_labels_is_fleiss_kappa_less_its_bias() -> None:
    ratings = np.random.default_rng(8).integers(0, 3, size=(40, 4))
    kappa = fleiss_kappa(aggregate_raters(ratings)[0])
    found = krippendorff_alpha(ratings.tolist(), "nominal")
    # If all raters rate all items, alpha differs only by its correction for a finite number of
    # ratings.
    assert found.value == exactly(kappa + (1 - kappa) / ratings.size)


def test_alpha_of_grades_compares_squared_distances_within_and_between() -> None:
    grades = np.random.default_rng(9).normal(size=(30, 3)) + np.arange(30)[:, None] / 10
    within = np.mean([pdist(item[:, None], "sqeuclidean").mean() for item in grades])
    overall = pdist(grades.reshape(-1, 1), "sqeuclidean").mean()
    found = krippendorff_alpha(grades.tolist(), "interval")
    assert found.value == exactly(1 - within / overall)


# Prediction-powered inference.


def judged(seed: int, labelled: int) -> Judged:
    labels = clustered(seed)
    verdicts = 0.7 * labels + np.random.default_rng(seed + 100).normal(size=len(labels))
    return Judged(verdicts, np.where(np.arange(len(labels)) < labelled, labels, np.nan), EQUAL)


def test_a_corrected_mean_is_the_regression_estimate() -> None:
    run = judged(10, 36)
    known = ~np.isnan(run.labels)
    line = sm.OLS(run.labels[known], sm.add_constant(run.verdicts[known])).fit()
    assert 0 < line.params[1] < 1  # else the weight is cut
    expected = line.params @ [1, run.verdicts.mean()]
    assert corrected_mean(run, share=False).value == exactly(expected)


def test_labels_of_all_answers_stand_alone() -> None:
    old, new = judged(11, len(EQUAL)), judged(12, len(EQUAL))
    for found, values in (
        (corrected_mean(old, share=False), old.labels),
        (corrected_difference(old, new, share=False), new.labels - old.labels),
    ):
        theirs = ols(values, EQUAL)
        low, high = theirs.conf_int()[0]
        assert (found.value, found.low, found.high) == exactly((theirs.params[0], low, high))


# Thresholds.


@pytest.mark.parametrize("alarms", [1, 3, 10])
def test_a_threshold_is_hazens_quantile(alarms: int) -> None:
    harmless = np.random.default_rng(13).random(40)
    quantile = np.quantile(harmless, 1 - alarms / 40, method="hazen")
    assert threshold_above(harmless.tolist(), alarms) == exactly(quantile)
    assert (harmless >= quantile).sum() == alarms
