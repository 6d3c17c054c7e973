"""Compares two runs by each measure: difference, interval, test, samples better and worse."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.logs.measures import (
    Measure,
    applicable,
    mean,
    measures_of,
    paired,
    show_p,
    values_of,
    weighted,
)
from vlmguard.results.logs.run import Run
from vlmguard.results.stats.differences import Difference, Pairs, difference_of
from vlmguard.results.stats.max_t import Sums, westfall_young


@dataclass(frozen=True)
class Change:
    """A measure in two runs, on the samples that both scored.

    Attributes:
        measure: The measure.
        means: Means of the first and the second run.
        difference: Second minus first.
        p: p-value, adjusted for all measures of the two runs.
        rose: Samples with a higher value in the second run.
        fell: Samples with a lower one.
    """

    measure: Measure
    means: tuple[float, float]
    difference: Difference
    p: float
    rose: int
    fell: int


@dataclass(frozen=True)
class _Compared:
    """A measure of two runs before its tests: means and pairs of the samples that both scored."""

    measure: Measure
    means: tuple[float, float]
    pairs: Pairs


def changes(first: Run, second: Run) -> list[Change]:
    """Compare two runs by every measure that both have.

    Returns:
        The changes, in the order of the tables. Measures without a common scored sample are left
        out.
    """
    old, new = first.samples(), second.samples()
    shared = old.index.intersection(new.index)
    old, new = old.loc[shared], new.loc[shared]
    present = [
        str(name)
        for name in old
        if name in new and old[name].notna().any() and new[name].notna().any()
    ]
    found = [
        _Compared(measure, _means(old, new, measure), pairs)
        for measure in measures_of([first, second], present)
        if (pairs := paired(old, new, measure))
    ]
    adjusted = westfall_young([Sums("", each.pairs.names, each.pairs.sums) for each in found])
    made = []
    for each, p in zip(found, adjusted, strict=True):
        difference = difference_of(each.pairs, each.measure.range)
        rose, fell = (int((sign * each.pairs.changes > 1e-9).sum()) for sign in (1, -1))
        highest = max(p, difference.p)
        made.append(Change(each.measure, each.means, difference, highest, rose, fell))
    return made


def _means(old: pd.DataFrame, new: pd.DataFrame, measure: Measure) -> tuple[float, float]:
    """Means over the samples that both scored."""
    rows = applicable(old, measure)
    before, after = values_of(rows, measure), values_of(new.loc[rows.index], measure)
    unknown = np.isnan(after - before)
    categories = rows["category"].to_list()
    known = (np.where(unknown, np.nan, each) for each in (before, after))
    first, second = (mean(weighted(each, categories, measure)) for each in known)
    return first, second


def change_sheet(found: Sequence[Change]) -> Sheet:
    """A row for each measure."""
    # Short words, and two lines where one would be long: 80 columns have room for all.
    header = ["Measure", "A", "B", "Change", "95 % interval", "p", "Adj. p"]
    sheet = Sheet("B against A", [*header, "Better", "Worse", "Samples"], [], labels=1)
    for change in found:
        measure, difference = change.measure, change.difference
        line = [measure.heading, *(measure.show(each) for each in change.means)]
        line.append(measure.show(difference.mean, True))
        ends = [measure.show(end, True) for end in (difference.low, difference.high)]
        line.append("-" if np.isnan(difference.low) else f"{ends[0]}\nto {ends[1]}")
        line += [show_p(difference.p), show_p(change.p), *_counts(change)]
        sheet.rows.append([*line, f"{difference.pairs}\n{difference.clusters} images"])
    sheet.notes.append(
        "Change: B minus A. Intervals are clustered by image, none below ten images. The test "
        "decides: p by flips of whole images (McNemar for labels on separate ones); adj. p: for "
        "all rows, by maxT."
    )
    if not all(change.measure.better for change in found):
        sheet.notes.append("In brackets: samples with more and with less, neither is better.")
    return sheet


def _counts(change: Change) -> list[str]:
    """Samples that became better and worse, or higher and lower if neither is better."""
    if change.measure.better > 0:
        return [str(change.rose), str(change.fell)]
    if change.measure.better < 0:
        return [str(change.fell), str(change.rose)]
    return [f"(+{change.rose})", f"(-{change.fell})"]
