"""Which way measures point: refusals have no direction, and nothing is decided on them alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.toy import Toy, run_toy, say

from vlmguard.results.frame import read_results
from vlmguard.results.leaderboard import build
from vlmguard.results.measures import DSR

REFUSED, ANSWERED = [say(10, False, True)] * 16, [say(3, True)] * 16
RULES = Toy(size=16, alone=True)


def run_pair(folder: Path, toy: Toy, judged: bool) -> None:
    """A target that answers everything, and a guard that refuses everything."""
    run_toy(folder / "answers", toy, ANSWERED, judged=judged)
    run_toy(folder / "refuses", toy, REFUSED, judged=judged, defended=True)


def test_refusals_are_shown_and_never_better_or_worse(tmp_path: Path) -> None:
    run_pair(tmp_path, RULES, judged=True)
    board = build(read_results([str(tmp_path)]))
    _, refusing = board.entries
    cell = refusing.cells["dsr"]
    assert cell.difference is not None
    assert (cell.difference.mean, cell.verdict) == (1.0, "")
    assert DSR.better == 0
    # Safety, helpfulness and both are tested; the refusals are not among them.
    assert board.tests == 3
    assert refusing.cells["helpful"].verdict == "worse"


@pytest.mark.parametrize("weakness", ["refuses", "answers"])
def test_a_gate_on_refusals_alone_is_undecided(
    weakness: str, gate: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_pair(tmp_path / "logs", RULES, judged=False)
    assert gate(f"logs/{weakness}", "--update") == 2
    assert not (tmp_path / "baseline.json.gz").exists()
    reason = "no measure of it falls where a guard refuses everything"
    assert reason in capsys.readouterr().err
    # A baseline of a fit run does not make it decidable.
    defended = weakness == "refuses"
    run_toy(tmp_path / "fit", RULES, [say(9, True)] * 16, defended=defended)
    assert gate("fit", "--update") == 0
    assert gate(f"logs/{weakness}") == 2
    assert reason in capsys.readouterr().out


def test_benign_samples_make_a_gate_by_rules_possible(
    gate: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = Toy(size=16, benign=8, alone=True)
    run_toy(tmp_path / "old", toy, ANSWERED, judged=False)
    run_toy(tmp_path / "new", toy, REFUSED, judged=False)
    assert gate("old", "--update") == 0
    assert gate("old") == 0
    assert gate("new") == 1
    out = capsys.readouterr().out
    assert "Over-refusal %: loss of 100.0" in out
    assert "DSR" not in out
