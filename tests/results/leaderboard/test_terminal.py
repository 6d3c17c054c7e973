"""What a terminal shows of a leaderboard: the result first, and nothing that only repeats."""

from pathlib import Path

from support.toy import Toy, run_toy, say

from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.slices import slice_sheets
from vlmguard.results.leaderboard.terminal import terminal_sheets
from vlmguard.results.logs.frame import read_results


def test_a_single_run_is_one_small_table(tmp_path: Path) -> None:
    run_toy(tmp_path, Toy(), [say(8, True)] * 6)
    (sheet,) = [each for each in terminal_sheets(build(read_results([str(tmp_path)]))) if each.rows]
    assert sheet.title == "Toy all: target, undefended"
    assert sheet.rows[0] == ["Safety 0-10 ↑", "8.00", "", "6 of 6"]
    assert "Models in full: mockllm/target." in sheet.notes
    assert [row[0] for row in sheet.rows][-2:] == ["Calls a sample ↓", "Tokens a sample ↓"]


def test_the_first_table_has_the_headlines_and_what_short_names_stand_for(
    board: Leaderboard,
) -> None:
    first = terminal_sheets(board)[0]
    assert [row[:2] for row in first.rows] == [list(row) for row in board.rows()]
    # What is refused needlessly stands beside what is safe.
    assert set(first.header[2:]) == {"Safe & helpful % ↑", "Over-refusal % ↓"}
    assert "Models in full: mockllm/alpha, mockllm/beta." in first.notes
    assert all(len(cell.split("\n")) <= 2 for row in first.rows for cell in row)


def test_slices_are_columns(tmp_path: Path) -> None:
    run_toy(tmp_path, Toy(benign=2, slices=("one", "two")), [say(8, True)] * 6)
    (sheet,) = slice_sheets(build(read_results([str(tmp_path)])))
    assert len(sheet.rows) == 1
    assert sheet.spans[1][1] == 2
