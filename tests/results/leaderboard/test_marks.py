"""Which tests belong together, what is marked, and how the best row compares with the others."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from support.clones import clone, template_log

from vlmguard.cli import main
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.comparisons import verdict
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.logs.frame import read_results
from vlmguard.results.logs.measures import common_measures
from vlmguard.results.stats.differences import permutation
from vlmguard.results.stats.max_t import Sums, westfall_young


def sums(values: list[float], pool: str = "") -> Sums:
    return Sums(pool, np.array([f"i{n}" for n in range(len(values))]), np.array(values, float))


def test_a_family_of_one_is_the_permutation_test() -> None:
    for values in ([3, 1, 2], [2, 2, -1], [0.1, 0.2, 0, 0.3], [1] * 9 + [-1] * 2):
        assert westfall_young([sums(values)]) == pytest.approx([permutation(np.array(values))])


def test_max_t_by_hand() -> None:
    # Signs of three images: the first reaches its |sum| of 3 in two of eight patterns, + + + and
    # - - -. The second, 1 1 -1, has a score of 1 / sqrt(3), which it reaches in every pattern.
    # So the first is adjusted for patterns in which the second reaches sqrt(3): + + - and - - +.
    first, second = sums([1, 1, 1]), sums([1, 1, -1])
    assert westfall_young([first, second]) == pytest.approx([4 / 8, 1.0])
    assert westfall_young([second, first]) == pytest.approx([1.0, 4 / 8])


def test_measures_that_say_the_same_cost_nothing() -> None:
    once = sums([1.0] * 8)
    alone = westfall_young([once])
    assert westfall_young([once] * 5) == alone * 5
    assert alone == [2 / 256]


def test_images_of_other_benchmarks_are_flipped_by_themselves() -> None:
    # Eight images each: 1 - (1 - 2/256)^2 that at least one of two reaches its largest sum. They
    # are 16 in all, so this is drawn: 10,000 times, with a standard error of 0.0012.
    both = westfall_young([sums([1.0] * 8, "a"), sums([1.0] * 8, "b")])
    assert both == pytest.approx([1 - (1 - 2 / 256) ** 2] * 2, abs=0.005)


def test_what_does_not_vary_costs_nothing_and_is_sure_of_nothing() -> None:
    assert westfall_young([sums([0.0] * 8), sums([1.0] * 8)]) == [1.0, 2 / 256]
    assert westfall_young([]) == []


def test_verdicts_need_test_and_interval() -> None:
    assert verdict(common_measures()["safety"], 1.0, 0.2, 1.8, 0.01) == "better"
    assert verdict(common_measures()["over_refusal"], 1.0, 0.2, 1.8, 0.01) == "worse"
    assert verdict(common_measures()["safety"], -1.0, -1.8, -0.2, 0.01) == "worse"
    assert verdict(common_measures()["safety"], 1.0, 0.2, 1.8, 0.06) == ""
    assert verdict(common_measures()["safety"], 1.0, -0.2, 2.2, 0.01) == ""
    # Fewer than ten images have no interval: only the exact test decides.
    assert verdict(common_measures()["safety"], 1.0, math.nan, math.nan, 0.01) == "better"
    assert verdict(common_measures()["safety"], 1.0, math.nan, math.nan, math.nan) == ""


def test_few_tables_hold_a_false_mark() -> None:
    """A true gain beside three null effects, with the same undefended run (partial null)."""
    random = np.random.default_rng(4)
    false = found = 0
    for _ in range(200):
        base = random.normal(size=40)
        runs = [random.normal(size=40) + shift for shift in (1.2, 0, 0, 0)]
        p_values = westfall_young([sums(list(run - base)) for run in runs])
        found += p_values[0] < 0.05
        false += min(p_values[1:]) < 0.05
    # Binomial: 0.05 would give more than 18 in one of 100 cases.
    assert false <= 18
    assert found > 180


SAMPLES = 60


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Safe and helpful: undefended 20 of 60, eta 50, ecso 47, always_refuse 0; two to an image."""
    folder = tmp_path_factory.mktemp("marks")
    log = template_log(folder / "template", SAMPLES)
    shares = {"none": 20, "eta": 50, "ecso": 47, "always_refuse": 0}
    for defense, share in shares.items():

        def grades(sample: int, share: int = share) -> tuple[float, float, float]:
            return (9.0 if sample < share else 2.0, 1.0, float(sample < share))

        clone(log, folder / "logs" / f"{defense}.eval", grades, defense=defense)
    return folder / "logs"


@pytest.fixture(scope="module")
def board(logs: Path) -> Leaderboard:
    return build(read_results([str(logs)]))


def cells(board: Leaderboard, defense: str):  # type: ignore[no-untyped-def]
    (found,) = [entry for entry in board.entries if entry.defense == defense]
    return found.cells


def test_controls_and_what_does_not_vary_are_out_of_the_family(board: Leaderboard) -> None:
    # Two defenses: safe & helpful of each, and safety; helpful is 1 throughout.
    assert board.groups[0].endpoint == "safe_and_helpful"
    assert (board.endpoint_tests, board.tests) == (2, 4)
    control = cells(board, "always_refuse")["safe_and_helpful"]
    assert control.difference.mean == pytest.approx(-20 / 60)
    assert control.difference.high < 0
    assert (control.verdict, math.isnan(control.p)) == ("", True)
    steady = cells(board, "eta")["helpful"]
    assert (steady.verdict, math.isnan(steady.p)) == ("", True)
    both = cells(board, "eta")["safe_and_helpful"]
    assert (both.verdict, both.p < 0.001) == ("better", True)


def test_the_best_row_is_compared_with_each_other_one(board: Leaderboard) -> None:
    found = {duel.other: duel for duel in board.duels}
    assert {duel.best for duel in board.duels} == {"eta"}
    assert found.keys() == {"undefended", "ecso", "always_refuse"}
    assert found["undefended"].difference.mean == pytest.approx(30 / 60)
    assert found["undefended"].verdict == "better"
    # Two images more: twice 1/4 by the exact test alone, and no smaller because the row was chosen.
    close = found["ecso"]
    assert close.difference.mean == pytest.approx(3 / 60)
    assert close.difference.p == 0.5
    assert close.p >= 0.5
    assert close.verdict == ""
    assert close.difference.low < 0 < close.difference.high


def test_every_output_shows_the_best_row_and_the_number_of_images(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["leaderboard", str(logs), "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    written = (tmp_path / "leaderboard.md").read_text()
    for text in (printed, written, (tmp_path / "leaderboard.html").read_text()):
        assert "The best row against the others" in text
        assert "+5.0" in text
    assert "30 images" in printed
    assert "4 differences were tested together" in printed
    assert "0.05 once every endpoint is marked" in " ".join(written.split())
    content = json.loads((tmp_path / "leaderboard.json").read_text())
    assert [duel["other"] for duel in content["duels"]] == ["undefended", "ecso", "always_refuse"]
    assert content["entries"][0]["cells"]["safety"]["clusters"] == 30
    lines = (tmp_path / "leaderboard.csv").read_text().splitlines()
    assert '"scored","of","scored_clusters"' in lines[0]
