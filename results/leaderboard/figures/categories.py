"""Heat map of the rows by category: numbers are values, colours the change to the undefended."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.patches import Rectangle

from vlmguard.results.leaderboard.figures.canvas import EDGE, LINE, Canvas
from vlmguard.results.leaderboard.figures.heat import diverging, letters_on, sequential
from vlmguard.results.leaderboard.figures.looks import (
    COLUMN,
    FRAME,
    INK,
    PAPER,
    SMALL,
    SOFT,
    WASH,
    Drawn,
)
from vlmguard.results.leaderboard.figures.names import (
    cut,
    short_names,
    size_of,
    target_names,
    wrapped,
)
from vlmguard.results.leaderboard.figures.panels import rows_of
from vlmguard.results.leaderboard.model import UNDEFENDED_LABEL, Leaderboard
from vlmguard.results.logs.measures import ENDPOINT, Measure

__all__ = ["Heat", "draw", "find"]

_CAPTION: Final = (
    "By category. Numbers are values; blue is better than the undefended target in the same "
    "category, orange worse, white no change (not tested)."
)
_PLAIN: Final = "By category; no undefended run to compare with, so darker is only a higher value."
_NARROWEST: Final = 0.45
_WIDEST: Final = 0.85
_ROW: Final = 0.2
_NAME: Final = 30
_BAR: Final = 0.46

Value = tuple[float, int]
"""A mean and the number of samples behind it."""


@dataclass(frozen=True)
class Heat:
    """The rows of a target and benchmark by category.

    Attributes:
        target: The target, in short.
        title: The benchmark.
        measure: What is shown.
        names: The categories.
        rows: Defense, and the values by category.
    """

    target: str
    title: str
    measure: Measure
    names: list[str]
    rows: list[tuple[str, dict[str, Value]]]

    @property
    def bare(self) -> dict[str, Value]:
        """The values of the undefended target; empty without its run."""
        return next((found for name, found in self.rows if name == UNDEFENDED_LABEL), {})

    @property
    def factor(self) -> float:
        """What makes values those that are shown."""
        return 100.0 if self.measure.is_share else 1.0


def find(board: Leaderboard) -> list[Heat]:
    """A map for each target and benchmark: of safe and helpful, else of the first measure.

    Refusing everything does not raise safe and helpful.
    """
    found = []
    for target, short in target_names(board).items():
        for group in board.groups:
            entries = rows_of(board, group, target)
            names = sorted({name for each in entries for name in each.categories if name})
            if not group.measures or not names:
                continue
            measure = group.by_name.get(ENDPOINT, group.measures[0])
            nothing = (math.nan, 0)
            rows = [
                (e.defense, {n: e.categories.get(n, {}).get(measure.name, nothing) for n in names})
                for e in entries
            ]
            found.append(Heat(short, group.title, measure, names, rows))
    return found


def draw(maps: Sequence[Heat], width: float) -> Drawn:
    """The maps below each other; one with many categories goes on below its rows."""
    canvas = Canvas(min(width, max(COLUMN, *map(_needed, maps))), EDGE)
    gaps = False
    # Of one benchmark all maps have the same colours.
    reaches = {heat.title: 0.0 for heat in maps}
    for heat in maps:
        reaches[heat.title] = max(reaches[heat.title], _reach(heat))
    for heat in maps:
        reach = reaches[heat.title]
        names = short_names([name for name, _ in heat.rows], _NAME)
        left, cell = _left(names), _cell(heat)
        most = max(1, int((canvas.width - left - EDGE) / cell + 1e-6))
        title = (heat.target, f"{heat.title}: {heat.measure.heading}")
        canvas.heading(EDGE, canvas.height, title, canvas.width - 2 * EDGE)
        canvas.height += 2 * LINE + 0.04
        blocks = math.ceil(len(heat.names) / most)
        each = math.ceil(len(heat.names) / blocks)
        for start in range(0, len(heat.names), each):
            part = heat.names[start : start + each]
            gaps = _draw_part(canvas, heat, part, names, left, cell, reach) or gaps
        _colour_bar(canvas, heat, left, reach)
    said = ["Hatched: nothing was scored there."] if gaps else []
    if any(heat.bare for heat in maps):
        without = [h for h in maps if not h.bare]
        said += [f"{h.target}, {h.title}: no undefended run; darker: higher." for h in without]
    canvas.notes(said)
    caption = _CAPTION if any(heat.bare for heat in maps) else _PLAIN
    return canvas.finish(_words(maps), caption)


def _left(names: dict[str, str]) -> float:
    """Where cells begin, behind the names of rows."""
    return EDGE + (max(size_of(name)[0] for name in names.values()) + 6) / 72


def _needed(heat: Heat) -> float:
    """The width of a map on which no category goes on below."""
    names = short_names([name for name, _ in heat.rows], _NAME)
    return _left(names) + len(heat.names) * _cell(heat) + EDGE


def _draw_part(
    canvas: Canvas,
    heat: Heat,
    part: list[str],
    names: dict[str, str],
    left: float,
    cell: float,
    reach: float,
) -> bool:
    """Draw some categories of all rows; whether any cell is empty."""
    heads = {name: _head(heat, name, cell) for name in part}
    above = max(len(each) for each in heads.values()) * LINE
    top = canvas.height + above
    wide, high = len(part) * cell, len(heat.rows) * _ROW
    for column, name in enumerate(part):
        place = left + (column + 0.5) * cell
        for number, line in enumerate(reversed(heads[name])):
            base = top - 0.04 - number * LINE
            colour = INK if number else SOFT
            canvas.text(place, base, line, ha="center", va="baseline", color=colour)
    for row, (name, _) in enumerate(heat.rows):
        weight = "bold" if name == UNDEFENDED_LABEL else "normal"
        middle = top + (row + 0.5) * _ROW
        canvas.text(left - 0.05, middle, names[name], ha="right", va="center", weight=weight)
    axis = canvas.axis(left, top, wide, high)
    _bare(axis, len(part), len(heat.rows))
    gaps, filled = False, dict[tuple[int, int], str]()
    for row, (_, values) in enumerate(heat.rows):
        for column, name in enumerate(part):
            value = values[name][0]
            if math.isnan(value):
                gaps = True
                axis.add_artist(
                    Rectangle((column, row), 1, 1, fc=WASH, ec=FRAME, hatch="////", lw=0)
                )
                continue
            colour = _colour(heat, value, heat.bare.get(name, (math.nan, 0))[0], reach)
            filled[column, row] = colour
            text = heat.measure.show(value)
            ink = letters_on(colour)
            axis.text(
                column + 0.5, row + 0.5, text, ha="center", va="center", color=ink, size=SMALL
            )
    _fill(axis, filled, PAPER, 0.6)
    canvas.height = top + high + 0.08
    return gaps


def _cell(heat: Heat) -> float:
    """Width of a cell in which no word of a category is broken, unless it is very long."""
    words = {word for name in heat.names for word in name.split()}
    widest = (max(size_of(word)[0] for word in words) + 4) / 72
    return min(max(widest, _NARROWEST), _WIDEST)


def _head(heat: Heat, name: str, cell: float) -> list[str]:
    """A category in lines as wide as its cell, with the number of samples."""
    lines = wrapped(name, cell * 72 - 2)
    counts = [values[name][1] for _, values in heat.rows if values[name][1]]
    low, high = min(counts, default=0), max(counts, default=0)
    lines = [*lines[:3], cut(" ".join(lines[3:]), 8)] if len(lines) > 4 else lines
    return [*lines, f"n={low}" if low == high else f"n={low}-{high}"]


def _fill(axis: Axes, cells: dict[tuple[int, int], str], edge: str, width: float) -> None:
    """Fill cells with colours, all at once: one artist for each takes most of the time."""
    corners = [((x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)) for x, y in cells]
    axis.add_collection(
        PolyCollection(corners, facecolors=list(cells.values()), edgecolors=edge, linewidths=width),
        autolim=False,
    )


def _bare(axis: Axes, columns: int, rows: int) -> None:
    axis.set(xlim=(0, columns), ylim=(rows, 0), xticks=[], yticks=[])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)


def _reach(heat: Heat) -> float:
    """The change at the ends of the colours: the largest, but no small one looks large."""
    changes = [
        abs(value - heat.bare[name][0])
        for _, values in heat.rows
        for name, (value, _) in values.items()
        if heat.bare and not math.isnan(value - heat.bare[name][0])
    ]
    return max([0.2 * heat.measure.highest, *changes])


def _colour(heat: Heat, value: float, before: float, reach: float) -> str:
    if not heat.bare:
        return sequential(value / heat.measure.highest if heat.measure.highest else 0.0)
    if math.isnan(before):
        return diverging(0.0)
    return diverging((value - before) / reach * (heat.measure.better or 1))


def _colour_bar(canvas: Canvas, heat: Heat, left: float, reach: float) -> None:
    """What the colours mean, below a map."""
    wide = min(canvas.width - left - EDGE - 0.2, 2.2)
    axis = canvas.axis(left + 0.1, canvas.height + 0.02, wide, 0.08)
    _bare(axis, 40, 1)
    sign = heat.measure.better or 1
    shares = [step / 39 for step in range(40)]
    colours = [diverging((2 * s - 1) * sign) if heat.bare else sequential(s) for s in shares]
    _fill(axis, {(step, 0): colour for step, colour in enumerate(colours)}, "none", 0)
    most = (reach if heat.bare else heat.measure.highest) * heat.factor
    ends = (f"-{most:.3g}", "0", f"+{most:.3g}") if heat.bare else ("0", "", f"{most:.3g}")
    for text, share in zip(ends, (0.0, 0.5, 1.0), strict=True):
        place = left + 0.1 + wide * share
        canvas.text(place, canvas.height + 0.12, text, ha="center", color=SOFT)
    said = "change to undefended" if heat.bare else "value"
    unit = ", points" if heat.bare and heat.measure.is_share else ""
    text = said + unit
    # Beside long names there may be no room for it.
    start = min(left, canvas.width - EDGE - size_of(text)[0] / 72)
    canvas.text(start, canvas.height + 0.12 + LINE, text, color=SOFT)
    canvas.height += _BAR


def _words(maps: Sequence[Heat]) -> str:
    """The best and the worst change of each row."""
    told = []
    for heat in maps[:3]:
        said = []
        names = short_names([name for name, _ in heat.rows], _NAME)
        for defense, values in heat.rows:
            known = {n: v for n, (v, _) in values.items() if not math.isnan(v)}
            if not known:
                continue
            low, high = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
            show = heat.measure.show
            said.append(
                f"{names[defense]} {show(known[low])} ({low}) to {show(known[high])} ({high})"
            )
        told.append(f"{heat.target}, {heat.title}, {heat.measure.label}: {'; '.join(said)}.")
    left = len(maps) - 3
    return " ".join([*told, *([f"And {left} more maps."] if left > 0 else [])])
