"""Statistics against numbers computed by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmguard.results.stats.differences import (
    holm,
    mcnemar,
    mean_interval,
    paired_difference,
    permutation,
    permutations,
)


def compare(old: list[float], new: list[float], clusters: list[str] | None = None):  # type: ignore[no-untyped-def]
    names = clusters or [str(number) for number in range(len(old))]
    return paired_difference(np.array(old, float), np.array(new, float), np.array(names))


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [
        (8, 1, 2 * (1 + 9) / 512),  # nine changes: one loss at most, both sides
        (5, 0, 2 / 32),
        (0, 0, 1.0),
        (3, 3, 1.0),
        (1, 0, 1.0),
    ],
)
def test_mcnemar_counts_binomial_tails(gained: int, lost: int, p: float) -> None:
    assert mcnemar(gained, lost) == pytest.approx(p)
    assert mcnemar(lost, gained) == pytest.approx(p)


@pytest.mark.parametrize(
    ("sums", "p"),
    [
        ([3, 1, 2], 2 / 8),  # only all plus and all minus reach 6
        ([2, 2, -1], 4 / 8),  # 3 is reached by 2+2-1, 2+2+1 and their mirror images
        ([0, 0], 1.0),
        ([5], 1.0),
        ([0.1, 0.2, 0.0, 0.3], 2 / 8),  # zeros do not matter; 0.1+0.2 is not exactly 0.3
    ],
)
def test_permutation_enumerates_few_clusters(sums: list[float], p: float) -> None:
    assert permutation(np.array(sums, float)) == pytest.approx(p)


def test_permutation_with_many_clusters_agrees_with_the_binomial() -> None:
    # 14 gains and 4 losses of equal size, as in McNemar's test: exact p 0.0309.
    sums = np.array([1.0] * 14 + [-1.0] * 4)
    assert permutation(sums) == pytest.approx(mcnemar(14, 4), abs=0.004)


@given(
    st.lists(
        st.lists(st.integers(-10, 10).map(float), min_size=0, max_size=80), min_size=0, max_size=6
    )
)
@settings(max_examples=30, deadline=None)
def test_tests_made_at_once_are_those_made_one_by_one(many: list[list[float]]) -> None:
    sums = [np.array(each, float) for each in many]
    assert permutations(sums) == [permutation(each) for each in sums]


@pytest.mark.parametrize("part", [3, 7, 10])
def test_parts_of_numbers_are_no_exception(part: int) -> None:
    """Their sums are rounded, so that ties are decided by the tolerance alone."""
    random = np.random.default_rng(part)
    sums = [random.integers(-9, 10, size=size) / part for size in (13, 40, 300)]
    whole = [each * part for each in sums]
    assert permutations(sums) == pytest.approx(permutations(whole), abs=1e-9)


def test_more_tests_than_are_flipped_at_once() -> None:
    sums = [np.array([1.0] * gained + [-1.0] * 20) for gained in range(90)]
    found = permutations(sums)
    assert found == [permutation(each) for each in sums]
    assert found[:9] == sorted(found[:9])  # the more they gained, the less they lost
    assert found[20] == 1.0


def test_p_values_go_on_where_flips_end() -> None:
    # A hundred losses, no gain: 2^-99 exactly, and p is never less than that.
    losses = np.array([-1.0] * 100)
    assert 2.0**-99 <= permutation(losses) < 1e-15


def test_clusters_are_flipped_whole() -> None:
    # Image a gains 1 twice, b loses 1: flipping a (+2) and b (-1), |sum| reaches 1 always.
    found = compare([0, 0, 1], [1, 1, 0], ["a", "a", "b"])
    assert found.mean == pytest.approx(1 / 3)
    assert (found.pairs, found.clusters) == (3, 2)
    assert (found.test, found.p) == ("permutation", 1.0)


def test_labels_on_separate_images_take_mcnemar() -> None:
    found = compare([0] * 9 + [1], [1] * 8 + [0, 0])
    assert found.mean == pytest.approx((8 - 1) / 10)
    assert (found.test, found.p) == ("McNemar", pytest.approx(mcnemar(8, 1)))


def test_unscored_samples_leave_the_pairs() -> None:
    found = compare([1, math.nan, 3, 4], [2, 2, math.nan, 6])
    assert (found.pairs, found.mean) == (2, 1.5)
    assert compare([math.nan], [1]) is None


def test_single_sample_and_zero_variance() -> None:
    single = compare([3], [8])
    assert (single.mean, single.p) == (5.0, 1.0)
    assert math.isnan(single.low)
    steady = compare([3.0] * 6, [8.0] * 6)
    assert (steady.mean, steady.p) == (5.0, 2 / 64)
    same = compare([3.0] * 6, [3.0] * 6)
    assert (same.mean, same.p) == (0.0, 1.0)


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.03, 0.04 times 3, 2, 1, and never falling: 0.03, 0.06, 0.06.
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_order_and_never_lowers(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= after <= 1.0 for p, after in zip(p_values, adjusted, strict=True))
    pairs = sorted(zip(p_values, adjusted, strict=True))
    assert [after for _, after in pairs] == sorted(adjusted)


def test_equal_input_gives_equal_output() -> None:
    values = np.random.default_rng(0).normal(size=30)
    assert mean_interval(values, np.arange(30)) == mean_interval(values, np.arange(30))
