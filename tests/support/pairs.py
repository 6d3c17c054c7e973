"""Interleaved pairs: how the benchmarks here measure a ratio.

On a busy machine, single figures vary by tens of percent. Each pair runs both sides twice, in the
order A B B A, so that a steady slowdown affects both equally. The median of the ratios counts; six
are the fewest whose spread is an interval of 95 % for it (`findings`). To detect a few percent,
see `duets`.
"""

import gc
from collections.abc import Callable

from support.findings import show, verdict, within

__all__ = ["PAIRS", "pairs", "show", "verdict", "within"]

PAIRS = 6


def pairs(
    ours: Callable[[], float], theirs: Callable[[], float], count: int = PAIRS
) -> list[tuple[float, float]]:
    """Measure both sides in interleaved pairs, after one unmeasured round of each.

    Objects loaded until then are hidden from the garbage collector, and each run starts without the
    garbage of the last. Otherwise, collections of a large heap at random moments would cause most
    of the difference.

    Args:
        ours: Runs our side once, and gives its time or speed.
        theirs: The same for the other side.
        count: Number of pairs.

    Returns:
        For each pair our mean of two runs and theirs.
    """
    ours()
    theirs()
    gc.collect()
    gc.freeze()
    measured = []
    for number in range(count):
        if number % 2:
            their, our = _there_and_back(theirs, ours)
        else:
            our, their = _there_and_back(ours, theirs)
        measured.append((our, their))
    gc.unfreeze()
    return measured


def _there_and_back(first: Callable[[], float], second: Callable[[], float]) -> tuple[float, float]:
    values = []
    for side in (first, second, second, first):
        gc.collect()
        values.append(side())
    return (values[0] + values[3]) / 2, (values[1] + values[2]) / 2
