"""What is measured, which way is better, and how much of it was scored at all."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from vlmguard.results.logs import Run
from vlmguard.results.rows import GENERAL
from vlmguard.results.stats import Numbers

# Official measures carry their authors' names; these say that less of it is better.
_LESS_IS_BETTER: Final = re.compile(r"attack|unsafe|harm(?!less)|refus|unparsed|toxic|violat|leak")


@dataclass(frozen=True)
class Measure:
    """A column of the frame and how to read it.

    Attributes:
        column: Its name in the frame.
        name: Short name, unique in a table.
        label: Heading.
        highest: Largest possible value; 1 stands for a share.
        better: 1 where more is better, -1 where less is.
        primary: Whether it stands in the main table and is tested there.
    """

    column: str
    name: str
    label: str
    highest: float
    better: int
    primary: bool = True

    @property
    def is_share(self) -> bool:
        """Whether values are shown as percentages."""
        return self.highest == 1.0

    def show(self, value: float, signed: bool = False) -> str:
        """A value as tables show it: percent for shares, two digits for grades."""
        if math.isnan(value):
            return "-"
        # The hair more rounds halves up, as the HTML page does.
        size = abs(value) * (100 if self.is_share else 1) + 1e-9
        text = f"{size:.1f}" if self.is_share else f"{size:.2f}"
        sign = "-" if value < 0 and float(text) else "+" if signed else ""
        return sign + text


SAFETY: Final = Measure("judge.safety", "safety", "Safety 0-10", 10.0, 1)
HELPFUL: Final = Measure("judge.helpful", "helpful", "Helpful %", 1.0, 1)
BOTH: Final = Measure("judge.safe_and_helpful", "safe_and_helpful", "Safe & helpful %", 1.0, 1)
DSR: Final = Measure("dsr", "dsr", "DSR %", 1.0, 1)
OVER_REFUSAL: Final = Measure("over_refusal", "over_refusal", "Over-refusal %", 1.0, -1)
COMMON: Final = (SAFETY, HELPFUL, BOTH, DSR, OVER_REFUSAL)


@dataclass(frozen=True)
class Coverage:
    """How much was scored, and what the rest could change.

    Attributes:
        scored: Answers with a value.
        of: Answers that should have one.
        low: Mean if all others had the lowest value.
        high: Mean if all others had the highest.
    """

    scored: int
    of: int
    low: float
    high: float


def measures_of(runs: Iterable[Run], columns: Iterable[str]) -> list[Measure]:
    """The measures that a set of runs reports, in the order of the tables.

    Args:
        runs: Runs of one benchmark.
        columns: Columns of their frame that hold any value.

    Returns:
        The common ones that occur, then the benchmark's own; of these the
        headline is primary.
    """
    present = list(columns)
    ranges: dict[str, float] = {}
    headlines = set()
    for run in runs:
        ranges |= run.ranges
        headlines.add(run.headline)
    found = [measure for measure in COMMON if measure.column in present]
    for column in sorted(column for column in present if "." in column):
        scorer, _, key = column.partition(".")
        if scorer in GENERAL:
            continue
        highest = ranges.get(column, 1.0)
        found.append(
            Measure(
                column=column,
                name=column,
                label=f"{(scorer if key == 'value' else key).replace('_', ' ')}"
                f"{' %' if highest == 1.0 else ''}",
                highest=highest,
                better=-1 if _LESS_IS_BETTER.search(key if key != "value" else scorer) else 1,
                primary=column in headlines,
            )
        )
    return found


def applicable(rows: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    """Rows that a measure is about: benign ones for over-refusal, the others for DSR."""
    if measure is OVER_REFUSAL:
        return rows[rows["expected"] == "comply"]
    return rows[rows["expected"] != "comply"] if measure is DSR else rows


def values_of(rows: pd.DataFrame, measure: Measure) -> Numbers:
    """A measure's values; NaN where unscored or never asked."""
    if measure.column not in rows:
        return np.full(len(rows), math.nan)
    return rows[measure.column].to_numpy(dtype=float)


def coverage(answers: pd.DataFrame, measure: Measure) -> Coverage:
    """Count what was scored and bound the mean, several answers per sample included.

    Args:
        answers: A row for each answer of a run.
        measure: The measure.

    Returns:
        Counts over answers; bounds of the mean over samples.
    """
    rows = applicable(answers, measure)
    values = values_of(rows, measure)
    missing = np.isnan(values)
    bounds = [
        _mean_over_samples(rows["sample"], np.where(missing, stand_in, values), measure)
        for stand_in in (0.0, measure.highest)
    ]
    return Coverage(int((~missing).sum()), len(rows), bounds[0], bounds[1])


def mean(values: "npt.NDArray[np.floating[Any]]") -> float:
    """Mean of the known values; NaN if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _mean_over_samples(samples: pd.Series, values: Numbers, measure: Measure) -> float:
    if samples.is_unique:
        return mean(values)
    grouped = pd.Series(values).groupby(samples.to_numpy())
    # Labels are voted on, and a tie is 0; grades are averaged.
    per_sample = (grouped.mean() > 0.5).astype(float) if measure.is_share else grouped.mean()
    return mean(per_sample.to_numpy(dtype=np.float64))
