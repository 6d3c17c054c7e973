"""Interleaved pairs: how the benchmarks here measure and show a ratio.

On a busy machine single figures wander by tens of percent. Each pair runs both sides one after
the other, in alternating order, and the median of the five ratios is what counts.
"""

import statistics
from collections.abc import Callable

PAIRS = 5


def pairs(ours: Callable[[], float], theirs: Callable[[], float]) -> list[tuple[float, float]]:
    """Measure both sides five times, interleaved, after one unmeasured round of each."""
    ours()
    theirs()
    measured = []
    for number in range(PAIRS):
        if number % 2:
            their, our = theirs(), ours()
        else:
            our, their = ours(), theirs()
        measured.append((our, their))
    return measured


def show(title: str, rows: dict[str, list[float]], unit: str) -> None:
    """Print median and spread (lowest to highest) of each row."""
    print(f"\n{title}")
    for name, values in rows.items():
        middle, low, high = statistics.median(values), min(values), max(values)
        print(f"  {name:<46} {middle:8.2f} {unit:<9} ({low:.2f} to {high:.2f})")


def verdict(ratios: list[float], limit: float, *, at_least: bool) -> bool:
    """Print the median ratio beside its limit; whether it keeps it."""
    middle = statistics.median(ratios)
    good = middle >= limit if at_least else middle <= limit
    word = "at least" if at_least else "at most"
    spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
    print(
        f"  ratio, median of {len(ratios)} pairs: {middle:.3f} ({spread}), "
        f"{word} {limit}: {'ok' if good else 'MISSED'}"
    )
    return good
