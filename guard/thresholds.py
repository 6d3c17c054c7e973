"""A threshold under which only so many harmless samples raise an alarm."""

import math
from collections.abc import Sequence

__all__ = ["alarms_allowed", "threshold_above"]

_STEP = 1e-4


def alarms_allowed(rate: float, harmless: int) -> int:
    """How many of the harmless samples may raise an alarm.

    Args:
        rate: Share of false alarms, 0 to 1.
        harmless: Number of harmless samples.

    Returns:
        The largest whole number that is no larger share (7 % of 100 are 7, in floating point too).
    """
    return math.floor(rate * harmless + 1e-9)


def threshold_above(
    harmless: Sequence[float], alarms: int, hazardous: Sequence[float] = ()
) -> float:
    """The threshold at and above which at most so many harmless samples lie.

    Args:
        harmless: Alarm values of harmless samples; more means more alarming.
        alarms: How many of them may raise an alarm, less than there are.
        hazardous: Alarm values of others, which only widen or narrow the margin.

    Returns:
        The threshold. Fewer samples raise an alarm where several have the same value.
    """
    silent = sorted(harmless, reverse=True)[alarms]  # the first that must raise no alarm
    above = [each for each in (*harmless, *hazardous) if each > silent]
    # Halfway to the next value: the same alarms on these samples, the widest margin for others.
    return (silent + min(above)) / 2 if above else silent + _STEP
