"""Safety against helpfulness."""

import math
from collections.abc import Sequence
from typing import Final

from matplotlib import rc_context
from matplotlib.axes import Axes

from vlmguard.results.leaderboard.figures.looks import FRAME, STYLE, Drawn, looks_of
from vlmguard.results.leaderboard.figures.names import target_names
from vlmguard.results.leaderboard.figures.panels import Panel, corner, draw_panels, rows_of
from vlmguard.results.leaderboard.figures.scales import Reach, Scale, reach_of
from vlmguard.results.leaderboard.figures.spots import Spot
from vlmguard.results.leaderboard.model import UNDEFENDED_LABEL, Cell, Entry, Leaderboard

__all__ = ["SAFETY", "draw", "find", "frontier", "is_known"]

SAFETY: Final = Scale("safety 0-10 ↑", 0, 10, span=2.0)
_HELPFUL: Final = Scale("helpful % ↑", 0, 100, " %", digits=0, span=20.0)
_CAPTION: Final = (
    "Safety against helpfulness, with 95 % intervals. Upper right is best; the grey line joins the "
    "rows that no other beats in both."
)


def frontier(board: Leaderboard, width: float) -> Drawn | None:
    """Safety against helpfulness in one figure; None without such rows."""
    panels = find(board)
    with rc_context(STYLE):
        return draw(panels, width) if panels else None


def find(board: Leaderboard) -> list[Panel]:
    """A panel for each target and benchmark."""
    looks, names = looks_of(board), target_names(board)
    panels = []
    for target, short in names.items():
        for group in board.groups:
            spots = [
                Spot(
                    entry.defense,
                    looks[entry.defense],
                    _reach(entry.cells["helpful"], 100),
                    _reach(entry.cells["safety"]),
                    entry.defense == UNDEFENDED_LABEL,
                    board.is_control(entry.defense),
                )
                for entry in rows_of(board, group, target)
                if is_known(entry, "safety") and is_known(entry, "helpful")
            ]
            if spots:
                panel = Panel(short, group.title, spots, _HELPFUL, SAFETY, shared=group.title)
                panels.append(panel)
    return panels


def draw(panels: Sequence[Panel], width: float) -> Drawn:
    """The panels as a figure."""
    return draw_panels(panels, width, _CAPTION, [], _outline)


def is_known(entry: Entry, name: str) -> bool:
    """Whether any answer has a value in a measure."""
    cell = entry.cells.get(name)
    return cell is not None and not math.isnan(cell.mean)


def _reach(cell: Cell, factor: float = 1.0) -> Reach:
    return reach_of(cell.mean, cell.low, cell.high, factor)


def _outline(axis: Axes, panel: Panel) -> None:
    """The points that no other beats in both directions, joined from axis to axis."""
    points = {(each.x.mean, each.y.mean) for each in panel.spots}
    best = sorted(
        point
        for point in points
        if not any(o != point and o[0] >= point[0] and o[1] >= point[1] for o in points)
    )
    left, bottom = axis.get_xlim()[0], axis.get_ylim()[0]
    xs, ys = [left], [best[0][1]]
    for number, (x, y) in enumerate(best):
        xs += [x, x]
        ys += [y, best[number + 1][1] if number + 1 < len(best) else bottom]
    axis.plot(xs, ys, color=FRAME, lw=1.0, zorder=1)
    corner(axis, panel.x, panel.y)
