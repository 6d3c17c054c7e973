"""Finds a free place for the label of each point, always the same one for the same points."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Box", "Wanted", "nearest", "place"]

_ANGLES: Final = (0, 180, 45, -45, 135, -135, 90, -90, 22, -22, 158, -158, 67, -67, 113, -113)
"""Right and left of the point are read most easily, so they are tried first."""
_STEP: Final = 4.0
_CROSSED: Final = 26.0
"""What a label costs on a line of another point, in points of distance."""


@dataclass(frozen=True)
class Box:
    """A rectangle, in points."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: "Box", gap: float = 0.0) -> bool:
        """Whether they overlap, or come nearer than a gap."""
        return (
            self.left < other.right + gap
            and other.left < self.right + gap
            and self.bottom < other.top + gap
            and other.bottom < self.top + gap
        )

    def holds(self, other: "Box") -> bool:
        """Whether the other lies inside."""
        return (
            self.left <= other.left
            and self.right >= other.right
            and self.bottom <= other.bottom
            and self.top >= other.top
        )

    def crossed(self, start: tuple[float, float], end: tuple[float, float]) -> bool:
        """Whether a line passes through."""
        enter, leave = 0.0, 1.0
        for at, to, low, high in (
            (start[0], end[0], self.left, self.right),
            (start[1], end[1], self.bottom, self.top),
        ):
            if at == to:
                if not low < at < high:
                    return False
                continue
            near, far = sorted(((low - at) / (to - at), (high - at) / (to - at)))
            enter, leave = max(enter, near), min(leave, far)
        return enter < leave


@dataclass(frozen=True)
class Wanted:
    """A label that needs a place: the point it belongs to, and its size."""

    x: float
    y: float
    width: float
    height: float
    radius: float


def place(
    wanted: Sequence[Wanted], taken: Iterable[Box], lines: Sequence[Box], area: Box
) -> list[Box | None]:
    """A place for each label that meets no other, no marker, and stays inside.

    Args:
        wanted: The labels, the most important first.
        taken: What no label may meet.
        lines: Thin things that labels had better not meet.
        area: Where labels may be.

    Returns:
        Places in the same order; None where there is no room.
    """
    blocked, leaders = list(taken), list[tuple[tuple[float, float], tuple[float, float]]]()
    found: list[Box | None] = []
    for label in wanted:
        best, lowest = None, math.inf
        for distance, box in _candidates(label, area):
            if distance >= lowest:
                break
            end = nearest(box, label.x, label.y)
            start = (label.x, label.y)
            own = Box(label.x, label.y, label.x, label.y)
            if not area.holds(box) or any(box.meets(each, 1.0) for each in blocked):
                continue
            passed = sum(each.crossed(start, end) for each in blocked if not each.meets(own))
            under = sum(box.crossed(*each) for each in leaders)
            bars = sum(box.meets(each) for each in lines)
            cost = distance + _CROSSED * (min(bars, 1) + bars / 4 + 2 * passed + 2 * under)
            if cost < lowest:
                best, lowest = box, cost
        found.append(best)
        if best is not None:
            blocked.append(best)
            leaders.append(((label.x, label.y), nearest(best, label.x, label.y)))
    return found


def nearest(box: Box, x: float, y: float) -> tuple[float, float]:
    """The place of a box that is nearest to a point."""
    return min(max(x, box.left), box.right), min(max(y, box.bottom), box.top)


def _candidates(label: Wanted, area: Box) -> Iterable[tuple[float, Box]]:
    """Places around a point, the nearest first, with what their distance costs."""
    reach = math.hypot(area.right - area.left, area.top - area.bottom)
    gap = label.radius + 1.5
    while gap < reach:
        for rank, angle in enumerate(_ANGLES):
            across, up = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            x = label.x + gap * across + (across - 1) / 2 * label.width
            y = label.y + gap * up + (up - 1) / 2 * label.height
            # Ranks cost less than a step, so that nearer places come first.
            yield gap + rank * _STEP / 20, Box(x, y, x + label.width, y + label.height)
        gap += _STEP
