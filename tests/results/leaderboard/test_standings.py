"""Which rows of a table are best and second."""

import pytest
from support.drawn_boards import HELPFUL, REFUSED, SAFETY, Row, board_of

from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.standings import standings
from vlmguard.results.leaderboard.tables import group_sheets, main_sheet
from vlmguard.results.logs.measures import Measure

# Safety, helpfulness, over-refusal.
ROWS: dict[str, Row] = {
    "undefended": (4.0, 0.9, 0.0),
    "ecso": (6.0, 0.9, 0.0),
    "vlmguard": (9.0, 0.8, 0.1),
    "always_refuse": (10.0, 0.0, 1.0),
}


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        (SAFETY, {"vlmguard": 1, "ecso": 2}),  # the control is no row to beat
        (HELPFUL, {"undefended": 1, "ecso": 1}),  # behind two that are best none is second
        (REFUSED, {"undefended": 1, "ecso": 1}),  # less is better
    ],
    ids=lambda each: each.name if isinstance(each, Measure) else "",
)
def test_places_follow_the_direction(measure: Measure, expected: dict[str, int]) -> None:
    board = board_of(ROWS)
    assert standings(board, board.groups[0], measure, "target") == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ({"undefended": (4.0, 1.0, 0.0), "ecso": (6.0, 1.0, 0.0)}, {"ecso": 1}),
        ({"undefended": (4.0, 1.0, 0.0), "ecso": (4.0, 1.0, 0.0)}, {}),
        # Equal as they are shown.
        ({"undefended": (4.001, 1.0, 0.0), "ecso": (4.002, 1.0, 0.0)}, {}),
        ({"undefended": (float("nan"), 1.0, 0.0), "ecso": (4.0, 1.0, 0.0)}, {}),
    ],
    ids=["two", "equal", "equal as shown", "one alone"],
)
def test_of_two_rows_none_is_second_and_equal_ones_have_no_place(
    rows: dict[str, Row], expected: dict[str, int]
) -> None:
    board = board_of(rows)
    assert standings(board, board.groups[0], SAFETY, "target") == expected


def test_sheets_name_the_cells_of_the_best_rows(board: Leaderboard) -> None:
    group = board.groups[0]
    (sheet, *_) = group_sheets(board)
    whole = main_sheet(board)
    measure = next(each for each in group.primary if each.better)
    column = sheet.labels + group.primary.index(measure)
    for place in (1, 2):
        cells = {(row, at) for row, at in (sheet.best, sheet.second)[place - 1] if at == column}
        assert {sheet.rows[row][1] for row, _ in cells} == {
            name
            for target in {row[0] for row in sheet.rows}
            for name, found in standings(board, group, measure, target).items()
            if found == place
        }
    assert whole.best
    assert all(whole.rows[row][at] for row, at in whole.best | whole.second)
