"""Interleaved pairs: how the benchmarks here measure and show a ratio.

On a busy machine, single figures vary by tens of percent. Each pair runs both sides twice, in the
order A B B A, so that a steady slowdown affects both equally. The median of the five ratios counts.
To detect a few percent, see `duets`.
"""

import gc
import statistics
from collections.abc import Callable

PAIRS = 5


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


def show(title: str, rows: dict[str, list[float]], unit: str) -> None:
    """Print median and spread (lowest to highest) of each row."""
    print(f"\n{title}")
    for name, values in rows.items():
        middle, low, high = statistics.median(values), min(values), max(values)
        print(f"  {name:<46} {middle:8.2f} {unit:<9} ({low:.2f} to {high:.2f})")


def verdict(ratios: list[float], limit: float, *, at_least: bool) -> bool:
    """Print the median ratio beside its limit; returns whether the limit is kept."""
    middle = statistics.median(ratios)
    good = middle >= limit if at_least else middle <= limit
    word = "at least" if at_least else "at most"
    spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
    print(
        f"  ratio, median of {len(ratios)} pairs: {middle:.3f} ({spread}), "
        f"{word} {limit}: {'ok' if good else 'MISSED'}"
    )
    return good
