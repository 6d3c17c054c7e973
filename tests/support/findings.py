"""What a benchmark found: printed, and kept for the page of all benchmarks (`benchmark_page`).

A script that runs alone only prints. `make bench` names a file in the environment variable
`BENCH_FINDINGS`, to which each finding is added as a line of JSON.
"""

import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from scipy.stats import binom

VARIABLE = "BENCH_FINDINGS"
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """An interval of the median.

    Attributes:
        low: Lower end.
        high: Upper end.
        level: Probability that such an interval contains the true median.
    """

    low: float
    high: float
    level: float


def median_interval(values: Sequence[float]) -> Interval | None:
    """The exact interval of the median by order statistics (the inverted sign test).

    Nothing is assumed of the values but that they are independent. It is the narrowest interval of
    at least 95 %; few values have none, and then the lowest and the highest are its ends, at a
    level below 95 % (five values: 93.75 %).

    Args:
        values: The values.

    Returns:
        The interval, or None for a single value.
    """
    count, ordered = len(values), sorted(values)
    if count < 2:
        return None
    cut = 0
    while _level(count, cut + 1) >= CONFIDENCE:
        cut += 1
    return Interval(ordered[cut], ordered[-1 - cut], _level(count, cut))


def _level(count: int, cut: int) -> float:
    """Level of the interval without the `cut` lowest and highest of `count` values."""
    return 1 - 2 * float(binom.cdf(cut, count, 0.5))


@dataclass(frozen=True)
class Verdict:
    """A figure beside its limit.

    Attributes:
        what: What the figure is.
        value: The figure; of pairs, the median of their ratios.
        limit: Its limit.
        at_least: Whether the limit is a lower one.
        count: Number of pairs that it is the median of; 1 for a single measurement.
        interval: The median's interval, if there are several pairs.
    """

    what: str
    value: float
    limit: float
    at_least: bool
    count: int = 1
    interval: Interval | None = None

    @property
    def kept(self) -> bool:
        """Whether the figure keeps its limit."""
        return self._keeps(self.value)

    @property
    def beyond_doubt(self) -> bool:
        """Whether no value of the interval would change the verdict."""
        if self.interval is None:
            return True
        return self._keeps(self.interval.low) == self._keeps(self.interval.high)

    def _keeps(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True)
class Figures:
    """Figures without a limit: the sides of a ratio, and what else is worth knowing.

    Attributes:
        title: What was run.
        unit: Unit of all rows.
        rows: For each name the measured values.
    """

    title: str
    unit: str
    rows: dict[str, list[float]]


def show(title: str, rows: dict[str, list[float]], unit: str) -> None:
    """Print and keep median and spread (lowest to highest) of each row."""
    print(f"\n{title}")
    for name, values in rows.items():
        middle, low, high = statistics.median(values), min(values), max(values)
        print(f"  {name:<46} {middle:8.2f} {unit:<9} ({low:.2f} to {high:.2f})")
    _keep(Figures(title, unit, rows))


def verdict(
    ratios: Sequence[float],
    limit: float,
    *,
    at_least: bool,
    what: str = "ratio",
) -> bool:
    """Print and keep the median ratio beside its limit.

    Args:
        ratios: The ratio of each pair.
        limit: The limit of their median.
        at_least: Whether it is a lower limit.
        what: What the ratio is, for a script with several of them.

    Returns:
        Whether the limit is kept.
    """
    middle = statistics.median(ratios)
    found = Verdict(what, middle, limit, at_least, len(ratios), median_interval(ratios))
    inside = found.interval
    if inside is None:
        spread = "one pair, no interval"
    else:
        spread = f"{100 * inside.level:.1f} % interval {inside.low:.3f} to {inside.high:.3f}"
    print(f"  {what}, median of {len(ratios)} pairs: {middle:.3f} ({spread}), {_said(found)}")
    _keep(found)
    return found.kept


def within(what: str, value: float, limit: float, *, at_least: bool = False) -> bool:
    """Print and keep a single figure beside its limit, which has no interval.

    Args:
        what: What the figure is, and its unit.
        value: The figure.
        limit: Its limit.
        at_least: Whether it is a lower limit.

    Returns:
        Whether the limit is kept.
    """
    found = Verdict(what, value, limit, at_least)
    print(f"  {what}: {value:.3f}, {_said(found)}")
    _keep(found)
    return found.kept


def _said(found: Verdict) -> str:
    word = "at least" if found.at_least else "at most"
    doubt = "" if found.beyond_doubt else ", the interval reaches beyond the limit"
    return f"{word} {found.limit:g}: {'ok' if found.kept else 'MISSED'}{doubt}"


def _keep(found: Verdict | Figures) -> None:
    if VARIABLE in os.environ:
        kind = "verdict" if isinstance(found, Verdict) else "figures"
        with open(os.environ[VARIABLE], "a", encoding="utf-8") as file:
            file.write(json.dumps({kind: asdict(found)}) + "\n")


def read_findings(text: str) -> tuple[list[Verdict], list[Figures]]:
    """What a script left in its file."""
    verdicts, figures = [], []
    for line in text.splitlines():
        read = json.loads(line)
        if "figures" in read:
            figures.append(Figures(**read["figures"]))
        else:
            inside = read["verdict"].pop("interval")
            interval = Interval(**inside) if inside else None
            verdicts.append(Verdict(**read["verdict"], interval=interval))
    return verdicts, figures
