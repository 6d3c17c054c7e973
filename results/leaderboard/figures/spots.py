"""Points of a figure, and which of them lie on one place or outside of its axes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes

from vlmguard.results.leaderboard.figures.looks import Look
from vlmguard.results.leaderboard.figures.scales import Reach, Scale

__all__ = ["Placed", "Spot", "inner", "point_of", "size_of_mark", "together"]

_MARKER: Final = 6.0
_SAME: Final = 2.5
"""Points whose middles are nearer than this many points lie on one place."""


@dataclass(frozen=True)
class Spot:
    """A row of the leaderboard as a point.

    Attributes:
        name: Its defense.
        look: Colour and shape.
        x: Its place.
        y: The same upwards.
        bare: Whether it is the undefended target.
        control: Whether it is a yardstick only, for which no axis is made longer.
        remark: Behind its name.
    """

    name: str
    look: Look
    x: Reach
    y: Reach
    bare: bool = False
    control: bool = False
    remark: str = ""


@dataclass(frozen=True)
class Placed:
    """Spots at one place, in points from the lower left corner of the figure."""

    x: float
    y: float
    spots: list[Spot]
    outside: str = ""


def inner(spots: Sequence[Spot]) -> Sequence[Spot]:
    """The spots that an axis must show: all but controls, unless there is nothing else."""
    kept = [each for each in spots if not each.control]
    return kept if any(not each.bare for each in kept) else spots


def together(axis: Axes, spots: Sequence[Spot], x: Scale, y: Scale) -> list[Placed]:
    """Spots by their place; those outside of the axes at the border."""
    (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
    point = point_of(axis)
    found: list[Placed] = []
    for spot in sorted(spots, key=lambda each: (not each.bare, each.control)):
        at_x = min(max(spot.x.mean, left + (right - left) * 0.03), right - (right - left) * 0.03)
        at_y = min(max(spot.y.mean, low + (high - low) * 0.03), high - (high - low) * 0.03)
        far = not (left <= spot.x.mean <= right and low <= spot.y.mean <= high)
        at_x, at_y = (at_x, at_y) if far else (spot.x.mean, spot.y.mean)
        px, py = axis.transData.transform((at_x, at_y)) * point
        outside = f" ({x.show(spot.x.mean)}, {y.show(spot.y.mean)})" if far else ""
        if far:
            across = "←" if spot.x.mean < left else "→" if spot.x.mean > right else ""
            outside = (across or ("↓" if spot.y.mean < low else "↑")) + outside
        near = next(
            (
                each
                for each in found
                if not far and not each.outside and math.hypot(each.x - px, each.y - py) < _SAME
            ),
            None,
        )
        while far and any(math.hypot(each.x - px, each.y - py) < _MARKER + 2 for each in found):
            py -= _MARKER + 3
        if near is not None:
            near.spots.append(spot)
        else:
            found.append(Placed(float(px), float(py), [spot], outside))
    return found


def point_of(axis: Axes) -> float:
    """Points in a dot of the axes' figure."""
    return 72 / axis.get_figure(root=True).dpi  # type: ignore[union-attr]


def size_of_mark(group: Placed) -> float:
    """How large the mark of a place is, in points."""
    return 11.0 if len(group.spots) > 1 else _MARKER
