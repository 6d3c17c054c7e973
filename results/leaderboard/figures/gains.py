"""Differences to the undefended target with their intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from vlmguard.results.leaderboard.figures.canvas import EDGE, LINE, Canvas
from vlmguard.results.leaderboard.figures.looks import (
    FRAME,
    INK,
    PAGE,
    PAPER,
    Drawn,
    Look,
    looks_of,
)
from vlmguard.results.leaderboard.figures.names import short_names, size_of, target_names, wrapped
from vlmguard.results.leaderboard.figures.panels import rows_of
from vlmguard.results.leaderboard.figures.scales import Reach, reach_of
from vlmguard.results.leaderboard.model import Cell, Entry, Leaderboard

__all__ = ["Gains", "draw", "find"]

_MEASURES: Final = {
    "safety": ("safety, points ↑", 1.0),
    "safe_and_helpful": ("safe & helpful, points of % ↑", 100.0),
}
_CAPTION: Final = (
    "Change to the undefended target, paired, with 95 % intervals. Filled: better or worse in the "
    "test, corrected for all tests of the table; open: not shown to differ, or a control."
)
_ROW: Final = 0.19
_NAME: Final = 30
_NARROW: Final = 20
_APART: Final = 0.25
"""Between the axes, so that the numbers at their ends do not meet."""
_TOLD: Final = 6


@dataclass(frozen=True)
class Gains:
    """The rows of a target and benchmark.

    Attributes:
        target: The target, in short.
        title: The benchmark.
        rows: Name, look, and the cells by the name of their measure.
    """

    target: str
    title: str
    rows: list[tuple[str, Look, dict[str, Cell]]]


def find(board: Leaderboard) -> list[Gains]:
    """The rows with a difference in safety, or in what is safe and helpful."""
    looks, names = looks_of(board), target_names(board)
    found = []
    for target, short in names.items():
        for group in board.groups:
            rows = [
                (entry.defense, looks[entry.defense], compared)
                for entry in rows_of(board, group, target)
                if (compared := _compared(entry))
            ]
            if rows:
                found.append(Gains(short, group.title, rows))
    return found


def draw(panels: Sequence[Gains], width: float) -> Drawn:
    """The panels below each other, a line for each row."""
    measures = [name for name in _MEASURES if any(name in c for p in panels for *_, c in p.rows)]
    longest = _NAME if width >= PAGE else _NARROW
    names = short_names(list(dict.fromkeys(n for p in panels for n, *_ in p.rows)), longest)
    labels = EDGE + (max(size_of(each)[0] for each in names.values()) + 6) / 72
    lines = sum(len(panel.rows) + 1.9 for panel in panels)
    across = len(measures) if width >= PAGE else 1
    each_wide = (width - labels - EDGE - 0.06) / across
    said = {
        name: wrapped(f"change in {_MEASURES[name][0]}", (each_wide - _APART) * 72)
        for name in measures
    }
    part = lines * _ROW + 0.28 + LINE * max(map(len, said.values()))
    deep = math.ceil(len(measures) / across)
    canvas = Canvas(width, EDGE + part * deep)
    for number, name in enumerate(measures):
        down, column = divmod(number, across)
        left, top = labels + column * each_wide, EDGE + down * part
        axis = canvas.axis(left + 0.05, top, each_wide - _APART, lines * _ROW)
        _draw_rows(axis, panels, name)
        axis.set_xlabel("\n".join(said[name]))
        axis.set_ylim(lines, 0)
        if column:
            continue
        height = 0.0
        for panel in panels:
            y = top + height * _ROW
            title = (f"{panel.target}, {panel.title}", "")
            canvas.heading(EDGE, y + 0.05, title, width - 2 * EDGE)
            for place, (row, *_) in enumerate(panel.rows):
                middle = y + (place + 1.9) * _ROW
                canvas.text(labels - 0.05, middle, names[row], ha="right", va="center")
            height += len(panel.rows) + 1.9
    return canvas.finish(_words(panels, measures[-1]), _CAPTION)


def _draw_rows(axis: Axes, panels: Sequence[Gains], name: str) -> None:
    height, factor = 0.0, _MEASURES[name][1]
    axis.axvline(0, color=INK, lw=0.8, zorder=1)
    axis.grid(visible=False, axis="y")
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    for panel in panels:
        axis.axhspan(height, height + 1.35, color=PAPER, zorder=1.5, lw=0)
        axis.axhline(height + 1.35, color=FRAME, lw=0.6)
        for place, (_, (colour, shape), cells) in enumerate(panel.rows):
            cell = cells.get(name)
            if cell is None:
                continue
            reach, y = _reach(cell, factor), height + place + 1.9
            if (ends := reach.bars()) is not None:
                axis.plot(ends, [y, y], color=colour, lw=1.3, zorder=2, solid_capstyle="butt")
            filled = bool(cell.verdict)
            face, edge = (colour, INK) if filled else (PAPER, colour)
            mew = 0.5 if filled else 1.1
            axis.plot([reach.mean], [y], shape, ms=5.5, mfc=face, mec=edge, mew=mew, zorder=3)
        height += len(panel.rows) + 1.9
    axis.margins(x=0.08)
    low, high = axis.get_xlim()
    ticks = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    axis.set_xticks([tick for tick in ticks if low <= tick <= high])
    axis.set_xlim(low, high)


def _compared(entry: Entry) -> dict[str, Cell]:
    """The cells with a difference."""
    return {
        name: cell
        for name in _MEASURES
        if (cell := entry.cells.get(name)) is not None and cell.difference is not None
    }


def _reach(cell: Cell, factor: float) -> Reach:
    assert cell.difference is not None
    found = cell.difference
    return reach_of(found.mean, found.low, found.high, factor)


def _words(panels: Sequence[Gains], name: str) -> str:
    """The changes in a measure."""
    told = []
    label, factor = _MEASURES[name]
    for panel in panels[:_TOLD]:
        names = short_names([row for row, *_ in panel.rows], _NAME)
        said = "; ".join(
            f"{names[row]} {_reach(cells[name], factor).mean:+.1f}"
            f"{' ' + cells[name].verdict if cells[name].verdict else ''}"
            for row, _, cells in panel.rows
            if name in cells
        )
        told.append(f"{panel.target}, {panel.title}: {said}.")
    left = len(panels) - _TOLD
    more = [f"And {left} more panels."] if left > 0 else []
    return " ".join([f"Change in {label.rstrip(' ↑')} to the undefended target.", *told, *more])
