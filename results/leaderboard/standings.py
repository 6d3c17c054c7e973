"""Which rows are best and second in a measure: what tables set bold and underline.

It is the order of the means, and no test: whether a difference is more than chance is what marks
say (`comparisons`).
"""

import math
from collections.abc import Sequence

from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.leaderboard.model import Group, Leaderboard
from vlmguard.results.logs.measures import Measure

__all__ = ["stand_out", "standings"]


def standings(board: Leaderboard, group: Group, measure: Measure, target: str) -> dict[str, int]:
    """The places of a target's rows in a measure: 1 for the best, 2 for the second.

    Rows with equal shown values share a place, and behind two that are best none is second.
    Controls have none, nor has any row where the measure has no direction, or where all shown
    values are equal; of two rows the other one is the worse, and not second.

    Args:
        board: The leaderboard.
        group: The benchmark.
        measure: One of its measures.
        target: Label of the target.

    Returns:
        Places by the label of the defense; rows behind the second are left out.
    """
    if not measure.better:
        return {}
    shown = {
        entry.defense: float(f"{entry.cells[measure.name].mean:.{3 if measure.is_share else 2}f}")
        for entry in board.of(group)
        if entry.target == target
        and not board.is_control(entry.defense)
        and not math.isnan(entry.cells[measure.name].mean)
    }
    if len(set(shown.values())) < 2:
        return {}
    places = {
        defense: 1 + sum((other - value) * measure.better > 0 for other in shown.values())
        for defense, value in shown.items()
    }
    last = 2 if len(shown) > 2 else 1
    return {defense: place for defense, place in places.items() if place <= last}


def stand_out(
    sheet: Sheet, board: Leaderboard, group: Group, measures: Sequence[Measure], first: int
) -> None:
    """Note which cells of a sheet are best and second best of their target.

    Args:
        sheet: A sheet with target and defense in its first columns.
        board: The leaderboard.
        group: A benchmark.
        measures: Its measures in the sheet.
        first: Column of the first of them.
    """
    for place, measure in enumerate(measures):
        of = {row[0]: standings(board, group, measure, row[0]) for row in sheet.rows}
        for line, row in enumerate(sheet.rows):
            standing = of[row[0]].get(row[1])
            if standing:
                (sheet.best if standing == 1 else sheet.second).add((line, first + place))
