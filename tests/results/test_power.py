"""Sample sizes against statsmodels and against simulated tests."""

import math
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from statsmodels.stats.power import tt_solve_power
from support.clones import clone, template_log

from vlmguard.cli import main
from vlmguard.guard.errors import UserError
from vlmguard.results.gate.compare import ALPHA as GATE_ALPHA
from vlmguard.results.power import (
    Aim,
    Pilot,
    assumed,
    gate_images,
    judge_moments,
    labels_needed,
    pilot_of,
    smallest,
    table_images,
)
from vlmguard.results.power_sheets import from_logs
from vlmguard.results.stats.differences import pair_up, paired_difference


@pytest.mark.parametrize(("difference", "power"), [(0.05, 0.8), (0.1, 0.9), (0.2, 0.8)])
def test_images_are_those_of_the_paired_t_test(difference: float, power: float) -> None:
    aim = Aim(difference, power)
    exact = tt_solve_power(difference / 0.3, alpha=aim.alpha, power=power)
    assert table_images(Pilot(0.3**2), aim) == pytest.approx(exact, abs=1.2)


@pytest.mark.parametrize("images", [30, 200])
def test_the_smallest_difference_is_that_of_the_paired_t_test(images: int) -> None:
    aim = Aim(0.05, 0.8)
    exact = 0.3 * tt_solve_power(nobs=images, alpha=aim.alpha, power=0.8)
    assert smallest(Pilot(0.3**2), aim, images) == pytest.approx(exact, rel=0.005)


@pytest.mark.parametrize("measures", [1, 4])
def test_images_for_the_gate_are_those_of_a_one_sided_t_test(measures: int) -> None:
    exact = tt_solve_power(0.05 / 0.3, alpha=GATE_ALPHA / measures, power=0.8, alternative="larger")
    found = gate_images(Pilot(0.3**2), Aim(0.05, 0.8), 0.0, measures)
    assert found == pytest.approx(exact, abs=1.2)


def test_the_smallest_difference_is_the_other_way_round() -> None:
    aim = Aim(0.05, 0.8, comparisons=4)
    pilot = Pilot(0.2)
    images = table_images(pilot, aim)
    assert smallest(pilot, aim, images) == pytest.approx(0.05, abs=0.0002)
    assert aim.alpha == pytest.approx(0.01)
    assert images > table_images(pilot, Aim(0.05, 0.8))


def test_so_many_labels_show_the_difference_so_often() -> None:
    aim = Aim(0.1, 0.8)
    pilot = assumed(0.8, 0.1)
    images = table_images(pilot, aim)
    random = np.random.default_rng(0)
    seen = 0
    for _ in range(400):
        # Discordant pairs: 20 %, 15 one way and 5 the other.
        kind = random.choice(3, size=images, p=[0.15, 0.05, 0.8])
        old, new = (kind == 1).astype(float), (kind == 0).astype(float)
        found = paired_difference(old, new, np.arange(images))
        assert found is not None
        seen += found.p < aim.alpha
    # McNemar's exact test has a little less power than the formula.
    assert 0.72 <= seen / 400 <= 0.84


def test_clusters_of_a_pilot_count() -> None:
    random = np.random.default_rng(1)
    image = np.repeat(random.normal(size=40), 4)
    codes = np.repeat(np.arange(40), 4)
    alike = pair_up(np.zeros(160), image, codes)
    assert alike is not None
    pilot = pilot_of(alike, 1.0)
    assert pilot is not None
    # Four equal samples of an image count as one.
    assert (pilot.samples, pilot.variance) == (4.0, pytest.approx(image[::4].var(ddof=1)))
    single = pair_up(np.zeros(4), np.ones(4), np.zeros(4))
    assert single is not None
    assert pilot_of(single, 1.0) is None


def test_the_gate_needs_a_loss_above_its_tolerance() -> None:
    pilot = Pilot(0.2)
    assert gate_images(pilot, Aim(0.02, 0.8), 0.02, 3) is None
    near, far = (gate_images(pilot, Aim(each, 0.8), 0.02, 1) for each in (0.025, 0.1))
    # Near the tolerance, the observed loss must exceed it: z = 0.8416 standard errors.
    assert near == math.ceil((0.841621 / 0.005) ** 2 * 0.2)
    assert far == math.ceil((1.750686 + 0.841621) ** 2 * 0.2 / 0.01 + 1.750686**2 / 2)


def test_labels_needed_by_simulation() -> None:
    """Prediction-powered differences with this number of labels have the requested power."""
    aim, rate, sensitivity, specificity = Aim(0.1, 0.8), 0.3, 0.9, 0.85
    pilot = assumed(0.7, 0.1)
    samples = 2 * table_images(pilot, aim)
    labels = labels_needed(pilot, aim, rate, sensitivity, specificity, samples)
    assert labels is not None
    assert labels < table_images(pilot, aim)
    random = np.random.default_rng(2)
    covariance, judged = judge_moments(pilot, 0.1, rate, sensitivity, specificity)
    weight = covariance / judged
    estimates = []
    for _ in range(2000):
        # 0 to 1: 20 %; 1 to 0: 10 %; the rest agree: 20 % of all on 1, so that 30 % were 1 before.
        kind = random.choice(4, size=samples, p=[0.2, 0.1, 0.2, 0.5])
        truths = np.isin(kind, (1, 2)), np.isin(kind, (0, 2))
        calls = [
            np.where(
                truth, random.random(samples) < sensitivity, random.random(samples) > specificity
            )
            for truth in truths
        ]
        true = truths[1].astype(float) - truths[0]
        call = calls[1].astype(float) - calls[0]
        estimates.append(weight * call.mean() + (true[:labels] - weight * call[:labels]).mean())
    wanted = 0.1 / (2.053749 + 0.841621)
    assert np.mean(estimates) == pytest.approx(0.1, abs=0.003)
    assert np.std(estimates) == pytest.approx(wanted, rel=0.06)


def test_labels_have_limits() -> None:
    aim, pilot = Aim(0.1, 0.8), assumed(0.7, 0.1)
    few = table_images(pilot, aim) // 2
    assert labels_needed(pilot, aim, 0.3, 0.9, 0.9, few) is None
    with pytest.raises(UserError, match="says nothing"):
        labels_needed(pilot, aim, 0.3, 0.5, 0.5, 10_000)
    # A perfect judge needs few labels of people.
    perfect = labels_needed(pilot, aim, 0.3, 1.0, 1.0, 100_000)
    assert perfect is not None
    assert perfect < 10


def test_impossible_wishes_are_refused() -> None:
    with pytest.raises(UserError, match="--agreement"):
        assumed(0.97, 0.05)
    for difference, power in ((0, 0.8), (1, 0.8), (0.1, 0.3), (math.nan, 0.8)):
        with pytest.raises(UserError):
            Aim(difference, power)


def test_each_measure_has_the_level_at_which_it_is_tested(tmp_path: Path) -> None:
    """Safe & helpful at 0.04, safety and helpful together at 0.01, DSR never."""
    log = template_log(tmp_path / "template", 40)
    for defense, number in (("none", 1), ("eta", 3)):

        def grades(sample: int, number: int = number) -> tuple[float, float, float]:
            return 9.0, float(sample % 5 < number), float(sample % 5 < number)

        clone(log, tmp_path / f"{defense}.eval", grades, defense=defense)
    pair = [str(tmp_path / f"{name}.eval") for name in ("none", "eta")]
    aim = Aim(0.1, 0.8, comparisons=2)
    sheet = from_logs(*pair, aim)
    rows = {row[0]: row for row in sheet.rows}
    assert list(rows) == ["Safety 0-10", "Helpful %", "Safe & helpful % (primary)"]
    helpful, both = rows["Helpful %"], rows["Safe & helpful % (primary)"]
    # The same answers, so the same variance; 0.04 / 2 and 0.01 / (2 * 2).
    (old, new) = (np.array([n % 5 < each for n in range(40)], dtype=float) for each in (1, 3))
    pairs = pair_up(old, new, np.array([n // 2 for n in range(40)]))
    assert pairs is not None
    pilot = pilot_of(pairs, 1.0)
    assert pilot is not None
    for row, alpha in ((both, 0.02), (helpful, 0.0025)):
        reach = NormalDist().inv_cdf(1 - alpha / 2)
        power = NormalDist().inv_cdf(0.8)
        needed = math.ceil((reach + power) ** 2 * pilot.variance / 0.01 + reach**2 / 2)
        assert row[3] == str(needed)
        seen = (reach + power) * math.sqrt(pilot.variance / (20 - reach**2 / 2))
        assert row[2] == f"{seen * 100:.1f}"
    assert both[5] == helpful[5]
    (note,) = sheet.notes
    assert "endpoint at 0.02 (2 tested together), of each other measure at 0.0025" in note
    assert "for one run in it" in note
    assert "one-sided test at 0.04 over 3 measures" in note


def test_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    log = template_log(tmp_path / "template", 40)
    for defense, share in (("none", 10), ("eta", 30)):

        def grades(sample: int, share: int = share) -> tuple[float, float, float]:
            return 9.0 if sample < share else 2.0, 1.0, 0.0

        clone(log, tmp_path / f"{defense}.eval", grades, defense=defense)
    pair = [str(tmp_path / f"{name}.eval") for name in ("none", "eta")]
    assert main(["power", *pair, "--difference", "10"]) == 0
    out = capsys.readouterr().out
    assert "Safe & helpful % (primary)" in " ".join(out.split())
    assert "nothing" in out
    options = ["--difference", "5", "--agreement", "0.8"]
    assert main(["power", *options]) == 0
    # (z(0.98) + z(0.8))^2 (0.2 - 0.0025) / 0.0025 + z(0.98)^2 / 2
    assert str(math.ceil(2.89537**2 * 0.1975 / 0.0025 + 2.053749**2 / 2)) in capsys.readouterr().out
    judge = ["--rate", "0.3", "--sensitivity", "0.9", "--specificity", "0.9"]
    assert main(["power", *options, *judge]) == 0
    assert "Labels" in capsys.readouterr().out
    assert main(["power", "--difference", "5"]) == 2
    assert main(["power", pair[0], "--difference", "5"]) == 2
    assert main(["power", *options, *judge[:4]]) == 2
