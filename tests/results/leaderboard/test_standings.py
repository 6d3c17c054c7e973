"""Which rows of a table are best and second."""

from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.standings import standings
from vlmguard.results.leaderboard.tables import group_sheets, main_sheet


def test_best_and_second_follow_the_direction_and_leave_controls_out(board: Leaderboard) -> None:
    group = board.groups[0]
    for target in {row[0] for row in board.rows()}:
        for measure in group.measures:
            means = {
                entry.defense: entry.cells[measure.name].mean
                for entry in board.of(group)
                if entry.target == target and not board.is_control(entry.defense)
            }
            found = standings(board, group, measure, target)
            if not measure.better or len(set(means.values())) < 2:
                assert found == {}
                continue
            ordered = sorted(set(means.values()), reverse=measure.better > 0)
            assert found == {
                name: ordered.index(value) + 1
                for name, value in means.items()
                if value in ordered[:2]
            }


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
