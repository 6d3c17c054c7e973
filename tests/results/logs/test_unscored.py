"""Measures without a usable verdict keep their columns, with the reasons."""

import json
from pathlib import Path

import pytest
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState
from support.toy import Toy, run_toy, say

from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.paper import paper_sheets
from vlmguard.results.leaderboard.publish import write_leaderboard
from vlmguard.results.leaderboard.tables import group_sheets, main_sheet
from vlmguard.results.logs.frame import read_results


@scorer(metrics={"right": [mean()], "clear": [mean()]})
def mute() -> Scorer:
    """Another package's scorer that never has a verdict."""

    async def score(state: TaskState, target: Target) -> Score:
        return Score.unscored(reason="grader_failed")

    return score


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Leaderboard:
    folder = tmp_path_factory.mktemp("unscored")
    answers = [say(8, True)] * 6
    toy = Toy(benign=2)
    run_toy(folder / "none", toy, answers, official=mute(), headline="mute.right")
    overloaded = "The service is overloaded."
    run_toy(
        folder / "guard",
        toy,
        answers,
        official=mute(),
        headline="mute.right",
        grader=lambda _: overloaded,
        defended=True,
    )
    return build(read_results([str(folder)]))


def test_what_was_asked_for_has_its_column(board: Leaderboard) -> None:
    (group,) = board.groups
    names = [measure.name for measure in group.measures if measure.primary]
    common = ["safety", "helpful", "safe_and_helpful", "dsr", "over_refusal"]
    assert names == [*common, "mute.right"]
    shown = [measure.name for measure in group.measures if not measure.benign]
    assert shown[-2:] == ["mute.clear", "mute.right"]
    guarded = board.entries[1]
    cover = guarded.cells["safety"].coverage
    assert (cover.scored, cover.of, cover.reasons) == (0, 6, {"invalid_format": 6})
    assert guarded.cells["mute.right"].coverage.reasons == {"grader_failed": 6}


def test_scored_is_that_of_the_headline(board: Leaderboard) -> None:
    assert board.groups[0].headline == "mute.right"
    (sheet,) = group_sheets(board)
    assert "Scored: right %." in sheet.notes
    for row in sheet.rows:
        assert row[sheet.header.index("Scored")].startswith("0 of 6")
    _, guarded = sheet.rows
    assert guarded[2:5] == ["-", "-", "-"]
    (note,) = [each for each in sheet.notes if "vlmguard: not scored" in each]
    assert "Safety 0-10, Helpful %, Safe & helpful %: invalid_format 6" in note
    assert "right %: grader_failed 6" in note
    assert [row[-1].split("\n")[0] for row in main_sheet(board).rows] == ["0 of 6"] * 2


def test_every_format_survives_a_measure_without_values(board: Leaderboard, tmp_path: Path) -> None:
    write_leaderboard(board, tmp_path)
    held = json.loads((tmp_path / "leaderboard.json").read_text())
    assert held["entries"][1]["cells"]["safety"]["mean"] is None
    text = (tmp_path / "leaderboard.csv").read_text()
    assert "grader_failed 6" in text
    assert "0 of 6" in (tmp_path / "leaderboard.md").read_text()
    assert "nan" not in (tmp_path / "leaderboard.md").read_text().lower()
    for sheet in paper_sheets(board):
        assert all("nan" not in cell for row in sheet.rows for cell in row)


def test_a_run_of_which_nothing_at_all_was_scored_is_named(tmp_path: Path) -> None:
    run_toy(tmp_path, Toy(), [say(8, True)] * 6, exact=mute(), headline="mute.right")
    results = read_results([str(tmp_path)])
    assert not results.runs
    (reason,) = results.left_out.values()
    assert reason == "failed: nothing of 6 answers was scored (grader_failed 6)"
