"""Points with intervals and names beside them, as several figures draw them."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vlmguard.results.leaderboard.figures.looks import FRAME, INK, PAPER, SMALL, SOFT
from vlmguard.results.leaderboard.figures.names import short_names, size_of
from vlmguard.results.leaderboard.figures.placing import Box, Wanted, nearest, place
from vlmguard.results.leaderboard.figures.scales import Scale
from vlmguard.results.leaderboard.figures.spots import (
    Placed,
    Spot,
    point_of,
    size_of_mark,
    together,
)

__all__ = ["draw_points"]

_NAME: Final = 24
_NEAR: Final = 42.0
"""A name that is farther from its point is hard to follow."""


def draw_points(axis: Axes, spots: Sequence[Spot], x: Scale, y: Scale) -> list[str]:
    """Draw points, their intervals, and their names; where these find no room near them, numbers.

    Args:
        axis: The axes, with their limits.
        spots: The points.
        x: What the horizontal axis shows.
        y: What the vertical one shows.

    Returns:
        What the numbers stand for.
    """
    names = short_names([each.name for each in spots], _NAME)
    groups = together(axis, spots, x, y)
    # What was drawn before, as outlines, is also kept free of names.
    bars = [box for line in axis.lines for box in _pieces(axis, line)]
    bars += [bar for each in groups if not each.outside for bar in _bars(axis, each)]
    for group in groups:
        _mark(axis, group)
    labels = [_lines(group, names) for group in groups]
    wanted, places = _places(axis, groups, labels, bars)
    key: list[str] = []
    if not all(map(_is_near, wanted, places)):
        for place, group in enumerate(groups):
            if not group.outside and not any(each.bare for each in group.spots):
                key += [f"{place}:\u00a0{' = '.join(labels[place])}"]
                labels[place] = [str(place)]
        wanted, places = _places(axis, groups, labels, bars)
    for group, lines, label, box in zip(groups, labels, wanted, places, strict=True):
        if box is None:
            told = f"{x.show(group.spots[0].x.mean)}, {y.show(group.spots[0].y.mean)}"
            key.append(f"at {told}: {', '.join(_lines(group, names))}")
        else:
            _write(axis, group, lines, label, box)
    return key


def _places(
    axis: Axes, groups: Sequence[Placed], labels: Sequence[list[str]], bars: Sequence[Box]
) -> tuple[list[Wanted], list[Box | None]]:
    """Labels with their sizes, and where they go."""
    frame, point = axis.get_window_extent(), point_of(axis)
    area = Box(frame.x0 * point + 2, frame.y0 * point + 2, frame.x1 * point, frame.y1 * point)
    markers = [_around(each.x, each.y, size_of_mark(each) / 2 + 0.5) for each in groups]
    wanted = [
        Wanted(
            group.x,
            group.y,
            *size_of("\n".join(lines), SMALL, _weight(group)),
            size_of_mark(group) / 2,
        )
        for group, lines in zip(groups, labels, strict=True)
    ]
    return wanted, place(wanted, markers, bars, area)


def _is_near(label: Wanted, box: Box | None) -> bool:
    """Whether a reader sees at once which point a label belongs to."""
    if box is None:
        return False
    x, y = nearest(box, label.x, label.y)
    return math.hypot(x - label.x, y - label.y) < _NEAR


def _bars(axis: Axes, group: Placed) -> list[Box]:
    """Draw the intervals of a place; where they are."""
    point = point_of(axis)
    found = []
    for spot in group.spots:
        for reach, across in ((spot.x, True), (spot.y, False)):
            ends = reach.bars()
            if ends is None:
                continue
            xs = list(ends) if across else [spot.x.mean] * 2
            ys = [spot.y.mean] * 2 if across else list(ends)
            axis.plot(xs, ys, color=spot.look[0], lw=1.0, zorder=2, solid_capstyle="butt")
            (x0, y0), (x1, y1) = axis.transData.transform(list(zip(xs, ys, strict=True))) * point
            found.append(Box(x0 - 0.6, y0 - 0.6, x1 + 0.6, y1 + 0.6))
    return found


def _pieces(axis: Axes, line: Line2D) -> list[Box]:
    """Where the pieces of a line are; a slanted one has no box."""
    point = point_of(axis)
    corners = [tuple(each) for each in line.get_transform().transform(line.get_xydata()) * point]
    return [
        Box(min(x0, x1) - 0.6, min(y0, y1) - 0.6, max(x0, x1) + 0.6, max(y0, y1) + 0.6)
        for (x0, y0), (x1, y1) in pairwise(corners)
        if abs(x0 - x1) < 0.5 or abs(y0 - y1) < 0.5
    ]


def _mark(axis: Axes, group: Placed) -> None:
    x, y = _in_data(axis, group)
    if len(group.spots) > 1:
        axis.plot(
            [x],
            [y],
            "o",
            ms=size_of_mark(group),
            color=PAPER,
            mec=INK,
            mew=0.9,
            zorder=4,
            clip_on=False,
        )
        axis.text(
            x, y, str(len(group.spots)), ha="center", va="center_baseline", size=SMALL, zorder=5
        )
        return
    colour, shape = group.spots[0].look
    open_ = bool(group.outside)
    axis.plot(
        [x],
        [y],
        shape,
        ms=size_of_mark(group),
        mfc=PAPER if open_ else colour,
        mec=colour if open_ else INK,
        mew=1.0 if open_ else 0.5,
        zorder=4,
        clip_on=False,
    )


def _lines(group: Placed, names: dict[str, str]) -> list[str]:
    """The names of a place, each on a line; with the value of what lies outside."""
    lines = [names[each.name] + each.remark for each in group.spots]
    arrow, value = group.outside[:1], group.outside[1:]
    return [f"{arrow} {line}{value}" if arrow else line for line in lines]


def _write(axis: Axes, group: Placed, lines: list[str], label: Wanted, box: Box) -> None:
    point = point_of(axis)
    to_data = axis.transData.inverted()
    end = nearest(box, label.x, label.y)
    if math.hypot(end[0] - label.x, end[1] - label.y) > label.radius + 4:
        xs, ys = to_data.transform(
            [(label.x / point, label.y / point), tuple(each / point for each in end)]
        ).T
        axis.plot(xs, ys, color=FRAME, lw=0.6, zorder=1.5)
    high = (box.top - box.bottom) / len(lines)
    # Names on the left of their point end at it.
    right = box.right < label.x
    for number, (line, spot) in enumerate(zip(lines, group.spots, strict=False)):
        middle = box.top - (number + 0.5) * high
        x, y = to_data.transform(((box.right if right else box.left) / point, middle / point))
        axis.text(
            x,
            y,
            line,
            ha="right" if right else "left",
            va="center_baseline",
            size=SMALL,
            weight="bold" if spot.bare else "normal",
            color=SOFT if spot.control else INK,
            zorder=6,
        )


def _in_data(axis: Axes, group: Placed) -> tuple[float, float]:
    point = point_of(axis)
    x, y = axis.transData.inverted().transform((group.x / point, group.y / point))
    return float(x), float(y)


def _weight(group: Placed) -> str:
    return "bold" if any(each.bare for each in group.spots) else "normal"


def _around(x: float, y: float, reach: float) -> Box:
    return Box(x - reach, y - reach, x + reach, y + reach)
