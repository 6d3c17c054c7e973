"""Means over groups, each of which counts alike."""

import math

import pytest
from inspect_ai.scorer import SampleScore, Score

from vlmguard.scorers.group_means import mean_of_means, values_by


def scored(*pairs: tuple[str, float]) -> list[SampleScore]:
    return [
        SampleScore(score=Score(value={"wrong": value}), sample_metadata={"category": group})
        for group, value in pairs
    ]


def test_values_are_gathered_by_group_without_the_unscored() -> None:
    scores = scored(("roses", 1.0), ("herbs", math.nan), ("roses", 0.0), ("roses", math.nan))
    assert values_by(scores, "wrong", "category") == {"roses": [1.0, 0.0], "herbs": []}
    assert values_by(scores, "right", "category") == {"roses": [], "herbs": []}


def test_each_group_counts_alike() -> None:
    mean, error = mean_of_means([[1.0, 0.0], [1.0, 1.0, 1.0, 0.0], []])
    assert mean == (1 / 2 + 3 / 4) / 2
    # Sample variances 1/2 and 1/4; their means have variances 1/4 and 1/16.
    assert error == pytest.approx(math.sqrt(1 / 4 + 1 / 16) / 2)


def test_the_error_needs_two_values_of_each_group() -> None:
    mean, error = mean_of_means([[1.0], [0.0, 1.0]])
    assert mean == 0.75
    assert math.isnan(error)
    assert all(math.isnan(each) for each in mean_of_means([[], []]))
