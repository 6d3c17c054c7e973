"""Panels of points: one for each target and benchmark, two beside each other on a page."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from matplotlib.axes import Axes

from vlmguard.results.leaderboard.figures.canvas import EDGE, Canvas
from vlmguard.results.leaderboard.figures.looks import COLUMN, PAGE, SMALL, SOFT, Drawn
from vlmguard.results.leaderboard.figures.names import short_names
from vlmguard.results.leaderboard.figures.points import draw_points
from vlmguard.results.leaderboard.figures.scales import Scale, set_axis
from vlmguard.results.leaderboard.figures.spots import Spot, inner
from vlmguard.results.leaderboard.model import Entry, Group, Leaderboard

__all__ = ["Panel", "corner", "draw_panels", "rows_of", "words"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 0.5, 0.1, 0.4, 0.42
_HEIGHT: Final = 2.3
_GAP: Final = 0.2
_PAD: Final = 0.07
_TOLD: Final = 4
"""So many panels are told in words."""


@dataclass(frozen=True)
class Panel:
    """What one axis shows.

    Attributes:
        target: Its target, in short.
        title: The benchmark.
        spots: The rows.
        x: What its horizontal axis shows.
        y: What its vertical one shows.
        left_out: In words, which rows are not drawn and why.
        shared: What panels must have in common to have one range; empty: nothing.
    """

    target: str
    title: str
    spots: list[Spot]
    x: Scale
    y: Scale
    left_out: list[str] = field(default_factory=list)
    shared: str = ""


def rows_of(board: Leaderboard, group: Group, target: str) -> list[Entry]:
    """The rows of a target in a group, in the order of the tables."""
    return [
        entry
        for each, defense in board.rows()
        if each == target and (entry := board.find(target, defense, group)) is not None
    ]


def draw_panels(
    panels: Sequence[Panel],
    width: float,
    caption: str,
    notes: Sequence[str],
    before: Callable[[Axes, Panel], None] = lambda axis, panel: None,
) -> Drawn:
    """A figure of panels.

    Args:
        panels: The panels.
        width: The width of the paper, in inches.
        caption: How the figure is read.
        notes: Sentences below the panels.
        before: Draws what lies behind the points.
    """
    across = min(len(panels), 2 if width >= PAGE else 1)
    wide = COLUMN * across + _GAP * (across - 1)
    high = _TOP + _HEIGHT + _BOTTOM
    canvas = Canvas(wide, math.ceil(len(panels) / across) * high + EDGE)
    far, keys = False, dict[str, list[str]]()
    for number, panel in enumerate(panels):
        line, column = divmod(number, across)
        left, top = column * (COLUMN + _GAP), EDGE + line * high
        inside = COLUMN - _LEFT - _RIGHT
        canvas.heading(left + EDGE, top, (panel.target, panel.title), COLUMN - 2 * EDGE)
        axis = canvas.axis(left + _LEFT, top + _TOP, inside, _HEIGHT)
        alike = [
            spot
            for each in panels
            if each is panel or (each.shared and each.shared == panel.shared)
            for spot in inner(each.spots)
        ]
        set_axis(axis, panel.x, panel.x.limits(each.x for each in alike), "x", _PAD)
        set_axis(axis, panel.y, panel.y.limits(each.y for each in alike), "y", _PAD)
        before(axis, panel)
        key = draw_points(axis, panel.spots, panel.x, panel.y)
        far = far or any(_is_far(axis, spot) for spot in panel.spots)
        if key:
            keys[f"{panel.target}, {panel.title}"] = key
    said = list(notes)
    if far:
        said.append("Open marker at the border: it lies outside, at the values in brackets.")
    said += [f"{where}: {'; '.join(of)}." for where, of in keys.items()]
    said += dict.fromkeys(each for panel in panels for each in panel.left_out)
    canvas.notes(said)
    return canvas.finish(words(panels), caption)


def corner(axis: Axes, x: Scale, y: Scale) -> None:
    """Say above the axis which corner is best."""
    right, up = x.better > 0, y.better > 0
    arrow = {(True, True): "↗", (False, True): "↖", (True, False): "↘", (False, False): "↙"}
    said = "better" if up else f"better: lower {'right' if right else 'left'}"
    axis.text(
        1.0 if right else 0.0,
        1.01,
        f"{said} {arrow[right, up]}" if right else f"{arrow[right, up]} {said}",
        ha="right" if right else "left",
        va="bottom",
        size=SMALL,
        style="italic",
        color=SOFT,
        transform=axis.transAxes,
    )


def words(panels: Sequence[Panel]) -> str:
    """What panels show: the undefended target, and each row that no other beats in both ways."""
    told = []
    for panel in panels[:_TOLD]:
        spots = [each for each in panel.spots if not _unknown(panel, each)]
        best = [each for each in spots if not any(_beats(panel, other, each) for other in spots)]
        shown = [*(each for each in spots if each.bare), *(each for each in best if not each.bare)]
        names = short_names([each.name for each in shown], 40)
        said = "; ".join(
            f"{names[each.name]} {_bare(panel.y)} {panel.y.show(each.y.mean)} at "
            f"{_bare(panel.x)} {panel.x.show(each.x.mean)}"
            for each in shown
        )
        others, missing = len(spots) - len(shown), len(panel.spots) - len(spots)
        more = (
            f"; {others} more row{' is' if others == 1 else 's are'} beaten in both"
            if others
            else ""
        )
        more += (
            f"; {missing} row{' has' if missing == 1 else 's have'} one of both alone"
            if missing
            else ""
        )
        told.append(f"{panel.target}, {panel.title}: {said}{more}.")
    left = len(panels) - _TOLD
    return " ".join([*told, *([f"And {left} more panels."] if left > 0 else [])])


def _bare(scale: Scale) -> str:
    return scale.label.rstrip(" ↑↓%").removesuffix(" 0-10")


def _beats(panel: Panel, one: Spot, other: Spot) -> bool:
    x, y = panel.x.better, panel.y.better
    gains = ((one.x.mean - other.x.mean) * x, (one.y.mean - other.y.mean) * y)
    return min(gains) >= 0 and max(gains) > 0


def _unknown(panel: Panel, spot: Spot) -> bool:
    """Whether one of both did not run: then it stands beside the axis."""
    return spot.x.mean < panel.x.lowest or spot.y.mean < panel.y.lowest


def _is_far(axis: Axes, spot: Spot) -> bool:
    (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
    return not (left <= spot.x.mean <= right and low <= spot.y.mean <= high)
