"""The content of tables in all formats."""

import csv
import io
import json
from pathlib import Path

import pytest
from inspect_ai.log import read_eval_log, write_eval_log
from rich.console import Console
from support.toy import Toy, grade, run_toy, say

from vlmguard.cli import main
from vlmguard.results.formats.console import print_sheets
from vlmguard.results.leaderboard import tables
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.publish import as_csv, board_sheets, write_leaderboard
from vlmguard.results.logs.frame import read_results
from vlmguard.results.logs.measures import show_p
from vlmguard.solvers import policy_route

STEERING = "\x1b[2J\x07\u202e"
SMALL = {0.0: "< 0.001", 0.0004: "< 0.001", 0.00099: "< 0.001", 0.001: "0.001", 0.25: "0.250"}


def test_no_format_lets_a_name_steer(matrix: Path, tmp_path: Path) -> None:
    log = read_eval_log(str(next((matrix / "none").glob("*.eval"))))
    log.eval.model = f"mockllm/{STEERING}"
    log.eval.metadata = {**(log.eval.metadata or {}), "benchmark": STEERING, "note": STEERING}
    write_eval_log(log, str(tmp_path / "logs" / "steering.eval"))
    board = build(read_results([str(tmp_path / "logs")]))
    write_leaderboard(board, tmp_path / "site")
    texts = [(tmp_path / "site" / f"leaderboard.{form}").read_text() for form in ("md", "tex")]
    texts += [as_csv(board), *board.notes, (tmp_path / "site" / "frontier.svg").read_text()]
    for width in (60, 140):
        out = io.StringIO()
        shown = [*board_sheets(board), tables.main_sheet(board), tables.left_out_sheet(board)]
        print_sheets(shown, Console(file=out, width=width))
        texts.append(out.getvalue())
    assert not [
        text for text in texts for letter in STEERING if letter in text and ord(letter) < 32
    ]
    assert not [text for text in texts if "\u202e" in text]


def test_kinds_of_a_rewriters_replies_are_told_apart(tmp_path: Path) -> None:
    def guard(text: str) -> str:
        if "Question 1?" in text:
            return "I can't help with that."
        return "no tags" if "Question 2?" in text else "<prompt>No change needed.</prompt>"

    run_toy(tmp_path, Toy(), [say(8, True)] * 6, defended=True, guard=guard)
    (sheet,) = tables.group_sheets(build(read_results([str(tmp_path)])))
    told = [note for note in sheet.notes if "of its guard" in note]
    assert told == [
        "target, vlmguard: replies of its guard: copied 4 (66.7 %), refused 1 (16.7 %), "
        "unusable 1 (16.7 %).",
        "target, vlmguard: failures of its guard: refused 1, no_prompt 1.",
    ]


def test_the_actions_of_a_policy_are_counted(tmp_path: Path) -> None:
    def route(text: str) -> str:
        rules = {1: "hate", 2: "privacy", 3: "privacy"}
        named = [rule for number, rule in rules.items() if f"Question {number}?" in text]
        return "Hm." if "Question 4?" in text else json.dumps({"rules": named})

    answers = [say(8, True)] * 6
    run_toy(tmp_path, Toy(), answers, solver=policy_route(), guard=route, guard_role="router")
    (sheet,) = tables.group_sheets(build(read_results([str(tmp_path)])))
    told = [note for note in sheet.notes if "replies of its guard" in note]
    assert told == [
        "target, policy_route: replies of its guard: forward 2 (33.3 %), "
        "reframe 2 (33.3 %), block 1 (16.7 %), unusable 1 (16.7 %).",
    ]


def test_without_a_comparison_no_test_is_described(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_toy(tmp_path / "logs", Toy(), [say(8, True)] * 6)
    out = tmp_path / "out"
    assert main(["leaderboard", str(tmp_path / "logs"), "--published", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    for text in (printed, *((out / f"leaderboard.{form}").read_text() for form in ("md", "html"))):
        assert "tested together" not in text
    assert "Nothing published is known for these benchmarks." in printed


def test_every_measure_says_what_was_scored(tmp_path: Path) -> None:
    def grader(prompt: str) -> str:
        # Helpful; the safety of the last two is not known.
        mute = "Question 4?" in prompt or "Question 5?" in prompt
        return '{"helpful": true}' if mute else grade(prompt)

    def no_answer(text: str) -> str:
        return "" if "Question 0?" in text else say(8, True)

    run_toy(tmp_path, Toy(), no_answer, grader=grader)
    board = build(read_results([str(tmp_path)]))
    covers = {name: cell.coverage for name, cell in board.entries[0].cells.items()}
    assert {name: cover.scored for name, cover in covers.items()} == {
        "safety": 3,
        "helpful": 5,
        "safe_and_helpful": 3,
        "dsr": 5,
    }
    (sheet,) = tables.coverage_sheets(board)
    assert sheet.rows == [
        [
            *("target", "undefended", "3 of 6\n2 images\n[4.00, 9.00]"),
            *("5 of 6\n3 images\n[83.3, 100.0]", "3 of 6\n2 images\n[50.0, 100.0]"),
            "5 of 6\n3 images\n[0.0, 16.7]",
        ]
    ]
    rows = {row["measure"]: row for row in csv.DictReader(io.StringIO(as_csv(board)))}
    assert (rows["dsr"]["scored"], rows["dsr"]["of"]) == ("5", "6")
    assert float(rows["dsr"]["worst_case_high"]) == pytest.approx(1 / 6)


def test_complete_runs_need_no_table_of_what_was_scored(board: Leaderboard) -> None:
    # On Toy, beta lacks one verdict; on Large there is no remark.
    assert [sheet.title for sheet in tables.coverage_sheets(board)] == ["Toy all, what was scored"]


def test_no_table_calls_a_small_p_zero() -> None:
    assert {p: show_p(p) for p in SMALL} == SMALL
