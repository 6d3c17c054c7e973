"""Axes of figures of points: the range that matters, and what an axis must say of itself."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator

__all__ = ["Reach", "Scale", "reach_of", "set_axis"]

_NEAR: Final = 0.2


@dataclass(frozen=True)
class Reach:
    """A value with the ends of its interval; NaN where there is none."""

    mean: float
    low: float = math.nan
    high: float = math.nan

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest of its numbers."""
        known = [each for each in (self.low, self.mean, self.high) if not math.isnan(each)]
        return min(known), max(known)

    def bars(self) -> tuple[float, float] | None:
        """The ends of its interval, if it has one."""
        # By rounding, an end may lie past the mean; a bar must not end before its point.
        bare = math.isnan(self.low) or math.isnan(self.high)
        return None if bare else (min(self.low, self.mean), max(self.high, self.mean))


def reach_of(mean: float, low: float, high: float, factor: float = 1.0) -> Reach:
    """A reach in another unit."""
    return Reach(mean * factor, low * factor, high * factor)


@dataclass(frozen=True)
class Scale:
    """What an axis shows.

    Attributes:
        label: Its label.
        lowest: The least possible value.
        highest: The largest; NaN if there is none.
        unit: Behind a number in words (`%`).
        digits: Of a number in words.
        span: An axis shows at least so much, so that tiny differences do not look large.
        fixed: Whether it always shows the whole range, or begins at the lowest value.
        better: 1 if more is better, -1 if less is.
    """

    label: str
    lowest: float
    highest: float
    unit: str = ""
    digits: int = 1
    span: float = 0.0
    fixed: bool = False
    better: int = 1

    def show(self, value: float) -> str:
        """A number in words."""
        return f"{value:.{self.digits}f}{self.unit}"

    def limits(self, reaches: Iterable[Reach]) -> tuple[float, float]:
        """The least and the largest value of the axis, without its margin."""
        ends = [each.ends for each in reaches]
        low = min(each[0] for each in ends)
        high = max(each[1] for each in ends)
        if self.fixed:
            low = self.lowest
            high = high if math.isnan(self.highest) else self.highest
        missing = max(0.0, self.span - (high - low), 1e-9 if high == low else 0.0)
        low, high = low - missing / 2, high + missing / 2
        top = math.inf if math.isnan(self.highest) else self.highest
        # What does not fit on one side goes to the other.
        low, high = low - max(0.0, high - top), high + max(0.0, self.lowest - low)
        # An axis that would begin just above its lowest value had better begin there.
        low = self.lowest if low - self.lowest < _NEAR * (high - low) else low
        return low, min(high, top)


def set_axis(axis: Axes, scale: Scale, limits: tuple[float, float], which: str, pad: float) -> None:
    """Give an axis its limits, ticks and label; one that begins above its lowest value says so.

    Args:
        axis: The axes.
        scale: What is shown.
        limits: The values that must be seen.
        which: `x` or `y`.
        pad: The margin on both sides, as a share of the range.
    """
    low, high = limits
    margin = (high - low) * pad
    ticks = [
        tick
        for tick in MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        if low - margin / 2 <= tick <= high + margin / 2
        and tick >= scale.lowest
        and (math.isnan(scale.highest) or tick <= scale.highest)
    ]
    said = scale.label + (f" (axis not from {scale.lowest:g})" if low > scale.lowest else "")
    if which == "x":
        axis.set_xlim(low - margin, high + margin)
        axis.xaxis.set_major_locator(FixedLocator(ticks))
        axis.set_xlabel(said)
    else:
        axis.set_ylim(low - margin, high + margin)
        axis.yaxis.set_major_locator(FixedLocator(ticks))
        axis.set_ylabel(said)
