"""The gate's statistical tests: how often chance alarms it, and how often it finds a loss."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from vlmguard.results.gate.baseline import CONDITIONS, FIXED_BY, Reading, Scores
from vlmguard.results.gate.comparable import Limits
from vlmguard.results.gate.compare import Finding, compare, exit_status
from vlmguard.results.logs.measures import common_measures

NO_TOLERANCE = Limits({"helpful": 0.0})


def run_of(values: npt.ArrayLike, target: str = "m") -> Scores:
    return Scores(
        benchmark="toy",
        variant="",
        target=target,
        defense="vlmguard",
        conditions=dict.fromkeys(CONDITIONS, "same"),
        judge="j",
        failures=0.0,
        unscored={"helpful": 0.0},
        measures=["helpful"],
        samples={
            f"toy/{number}": [f"image-{number}", None if np.isnan(value) else float(value)]
            for number, value in enumerate(np.asarray(values))
        },
    )


def against(old: list[Scores], new: list[Scores], limits: Limits = NO_TOLERANCE) -> list[Finding]:
    readings = [
        Reading({"helpful": common_measures()["helpful"]}, dict.fromkeys(scores.samples, ""))
        for scores in new
    ]
    return compare(old, list(zip(new, readings, strict=True)), limits)


@pytest.mark.parametrize(("size", "rate"), [(8, 0.4), (50, 0.16)])
def test_chance_alarms_no_more_often_than_one_time_in_twenty(size: int, rate: float) -> None:
    """Twenty targets with few changes both ways: the bootstrap alone alarms in one of ten."""
    random = np.random.default_rng(1)
    alarms = 0
    for _ in range(100):
        old, new = [], []
        for target in range(20):
            before = random.random(size) < 0.5
            after = np.where(random.random(size) < rate, ~before, before)
            old.append(run_of(before, f"m{target}"))
            new.append(run_of(after, f"m{target}"))
        alarms += exit_status(against(old, new), strict=False) == 1
    assert alarms <= 5


def test_five_losses_of_fifty_are_enough_and_four_are_not() -> None:
    # One in 2^5 and one in 2^4, as for a fair coin.
    for lost, status in ((5, 1), (4, 0)):
        findings = against([run_of([1.0] * 50)], [run_of([0.0] * lost + [1.0] * (50 - lost))])
        assert exit_status(findings, strict=False) == status


def test_a_loss_that_one_test_shows_may_be_chance_among_twenty() -> None:
    old = [run_of([1.0] * 50, f"m{number}") for number in range(20)]
    new = [run_of([0.0] * 6 + [1.0] * 44, "m0"), *old[1:]]
    assert exit_status(against(old[:1], new[:1]), strict=False) == 1
    assert exit_status(against(old, new), strict=False) == 0


def test_six_hundred_measures_hide_no_collapse() -> None:
    # Resampling cannot give less than 1 in 10,000, and times 600 that is not significant.
    old = [run_of([1.0] * 40, f"m{number}") for number in range(600)]
    new = [run_of([0.0] * 30 + [1.0] * 10, "m0"), *old[1:]]
    (worse,) = [each for each in against(old, new) if each.status == "worse"]
    assert worse.run == "toy, m0, vlmguard"


def test_a_measure_without_common_values_is_not_passed_over() -> None:
    halves = [1.0] * 5 + [np.nan] * 5
    findings = against([run_of(halves)], [run_of(halves[::-1])], Limits({}, unscored=1.0))
    assert [(each.status, each.message) for each in findings] == [
        ("incomparable", "helpful: no sample has a value both now and in the baseline")
    ]


def test_a_category_is_not_lost_from_sight_by_a_few_unscored_answers() -> None:
    # Twelve of 600: three have no value now, and the nine others are lost.
    old, new = run_of([1.0] * 600), run_of([np.nan] * 3 + [0.0] * 9 + [1.0] * 588)
    fixed = dict.fromkeys(FIXED_BY, "same") | {"versions": "1"}
    categories = {
        sample: "small" if place < 12 else "large" for place, sample in enumerate(new.samples)
    }
    reading = Reading({"helpful": common_measures()["helpful"]}, categories, fixed_by=fixed)
    baseline = replace(old, deterministic={**fixed, "logs": "a, b"})
    (found,) = compare([baseline], [(new, reading)], Limits({}))
    assert found.status == "worse"
    told = "change of -1.5 on 597 samples, but loss of 100.0 on 9 samples of category small"
    assert told in found.message
