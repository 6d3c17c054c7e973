"""Which runs are compared, and which of the differences are marked better or worse.

Each defense is compared with the undefended run of its target, sample by sample. The primary
endpoint of a benchmark (safe & helpful, if it is judged) is tested at 0.04, all other measures of
the table together at 0.01, and at 0.05 if every primary endpoint is marked: at most one table in
twenty has any false mark. Controls are not tested, and neither are measures without a direction or
without a sample that differs.

The best row of a benchmark is compared with each other row of the same target. It is chosen by the
same answers, so p-values and intervals must hold for all pairs of rows together: p by maxT over all
pairs, intervals by Bonferroni.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import pandas as pd

from vlmguard.results.leaderboard.beside import HARMLESS
from vlmguard.results.leaderboard.model import (
    UNDEFENDED_LABEL,
    Cell,
    Duel,
    Entry,
    Gain,
    Group,
    Leaderboard,
)
from vlmguard.results.logs.measures import (
    ENDPOINT,
    Measure,
    paired,
)
from vlmguard.results.stats.differences import Pairs, differences_of
from vlmguard.results.stats.max_t import Sums, westfall_young

ALPHA: Final = 0.05
PRIMARY_SHARE: Final = 0.8
"""Share of `ALPHA` for the primary endpoints, if there are other measures too."""

Samples = Mapping[Entry, pd.DataFrame]
"""A row for each sample of each run of a group."""


@dataclass(frozen=True)
class Tested:
    """A difference that is tested.

    Attributes:
        cell: The cell with the difference.
        measure: Its measure.
        primary: Whether this is the primary endpoint.
        sums: The sums whose signs the test flips.
    """

    cell: Cell
    measure: Measure
    primary: bool
    sums: Sums


@dataclass(frozen=True)
class _Asked:
    """A cell that is to have its difference, from these pairs; whether it may be marked."""

    cell: Cell
    measure: Measure
    pairs: Pairs
    tested: bool


@dataclass(frozen=True)
class _Pair:
    """Two rows, and their shared samples in a measure."""

    one: Entry
    other: Entry
    samples: Pairs


def compare(board: Leaderboard, group: Group, samples: Samples) -> list[Tested]:
    """Fill in the differences to each target's undefended run.

    Args:
        board: The leaderboard.
        group: One of its groups.
        samples: The samples of its runs.

    Returns:
        The differences to test, together with those of all other groups.
    """
    asked: list[_Asked] = []
    for entry in board.of(group):
        if entry.defense == UNDEFENDED_LABEL:
            continue
        partner = board.undefended(entry)
        if partner is None:
            _add_note(entry, "no undefended run of this target under the same conditions")
            continue
        old, new = samples[partner], samples[entry]
        alike = new.index.equals(old.index)
        if not alike and set(old.index) != set(new.index):
            both = len(set(old.index) & set(new.index))
            way_out = "; --intersect compares the shared ones" if both else ""
            _add_note(
                entry,
                f"other samples than the undefended run ({both} shared of {len(new)} and "
                f"{len(old)}), so no difference{way_out}",
            )
            continue
        new = new if alike else new.reindex(old.index)
        asked += _asked(entry.cells, old, new, group, tested=not board.is_control(entry.defense))
        for name, cells in entry.slices.items():
            here = old["slice"] == name
            asked += _asked(cells, old[here], new[here], group, tested=False)
    ranges = [each.measure.range for each in asked]
    differences = differences_of([each.pairs for each in asked], ranges)
    for each, difference in zip(asked, differences, strict=True):
        each.cell.difference = difference
    # An image of a benchmark is flipped alike for all targets that it was shown to.
    pool = f"{group.column.benchmark} {group.column.data}"
    return [
        Tested(each.cell, each.measure, each.measure.name == group.endpoint, sums)
        for each in asked
        if each.tested
        for sums in [Sums(pool, each.pairs.names, each.pairs.sums)]
    ]


def mark(tested: Sequence[Tested]) -> tuple[int, int]:
    """Fill in adjusted p-values and verdicts.

    Args:
        tested: All differences of a table that may be marked.

    Returns:
        The number of tests of primary endpoints, and of others.
    """
    varied = [each for each in tested if each.sums.varies]
    first = [each for each in varied if each.primary]
    rest = [each for each in varied if not each.primary]
    share = PRIMARY_SHARE if first and rest else 1.0
    _adjust(first, lambda p: p / share)
    # If all of the first are marked, their share of `ALPHA` goes to the rest.
    passed = max((each.cell.p for each in first), default=0.0)
    _adjust(rest, (lambda p: min(p / (1 - share), max(p, passed))) if first else (lambda p: p))
    return len(first), len(rest)


def verdict(measure: Measure, mean: float, low: float, high: float, p: float) -> str:
    """`better` or `worse` if the test says so and the interval excludes zero, else empty.

    Args:
        measure: What is measured.
        mean: Difference.
        low: Lower end of its interval; NaN if there is none.
        high: Upper end.
        p: Adjusted p-value.
    """
    if not p < ALPHA or low <= 0 <= high:
        return ""
    return "better" if (mean > 0) == (measure.better > 0) else "worse"


def duels(board: Leaderboard, group: Group, samples: Samples) -> list[Duel]:
    """Compare the best row of each target with the others.

    Args:
        board: The leaderboard.
        group: One of its groups; the primary endpoint decides which row is best.
        samples: The samples of its runs.

    Returns:
        A comparison of the best row (never a control) with each other row that has the same
        samples and any value.
    """
    measure = group.by_name.get(group.endpoint)
    if measure is None:
        return []
    found = []
    for target in dict.fromkeys(entry.target for entry in board.of(group)):
        rows = [
            entry
            for entry in board.of(group)
            if entry.target == target and not math.isnan(entry.cells[measure.name].mean)
        ]
        rivals = [entry for entry in rows if not board.is_control(entry.defense)]
        if rivals:
            best = max(rivals, key=lambda entry: measure.better * entry.cells[measure.name].mean)
            index = samples[best].index
            others = [
                entry
                for entry in rows
                if entry is not best
                and (samples[entry].index.equals(index) or set(samples[entry].index) == set(index))
            ]
            found += _against(best, others, samples, measure)
    return found


def gains(board: Leaderboard) -> list[Gain]:
    """Average relative gains in safety, for each group and defense; controls come last.

    Groups of harmless requests have none: nothing there is to be made safe.
    """
    found = []
    for group in board.groups:
        if group.kind == HARMLESS:
            continue
        named = dict.fromkeys(entry.defense for entry in board.of(group))
        defenses = sorted(named, key=board.is_control)
        for defense in defenses:
            compared = [entry for entry in board.of(group) if entry.defense == defense]
            gain = _gain(board, group, defense, compared)
            found += [gain] if gain else []
    return found


def _gain(board: Leaderboard, group: Group, defense: str, entries: list[Entry]) -> Gain | None:
    """The gain of a defense; None without a comparison, or if an undefended mean is not above 0."""
    pairs: list[tuple[float, float]] = []
    both: list[float] = []
    for entry in entries:
        undefended, cell = board.undefended(entry), entry.cells.get("safety")
        if undefended is None or cell is None or cell.difference is None:
            continue
        pairs.append((undefended.cells["safety"].mean, cell.mean))
        if (useful := entry.cells.get(ENDPOINT)) and useful.difference:
            both.append(useful.difference.mean)
    # There is no relative gain over 0.
    if not pairs or not all(old > 0 for old, _ in pairs):
        return None
    before, after = sum(old for old, _ in pairs), sum(new for _, new in pairs)
    return Gain(
        group=group,
        defense=defense,
        targets=len(pairs),
        of_means=after / before - 1,
        mean_of=sum((new - old) / old for old, new in pairs) / len(pairs),
        both=sum(both) / len(both) if both else math.nan,
    )


def _asked(
    cells: dict[str, Cell], old: pd.DataFrame, new: pd.DataFrame, group: Group, *, tested: bool
) -> list[_Asked]:
    """The differences of a row; `tested` if those in measures with a direction may be marked."""
    found = [(measure, paired(old, new, measure)) for measure in group.measures]
    return [
        _Asked(cells[measure.name], measure, pairs, tested and measure.is_tested)
        for measure, pairs in found
        if pairs is not None
    ]


def _against(best: Entry, others: list[Entry], samples: Samples, measure: Measure) -> list[Duel]:
    pairs: list[_Pair] = []
    index = samples[best].index
    for one, other in combinations([best, *others], 2):
        rows = samples[other]
        rows = rows if rows.index.equals(index) else rows.loc[index]
        found = paired(rows, samples[one], measure)
        pairs += [_Pair(one, other, found)] if found else []
    adjusted = westfall_young([Sums("", each.samples.names, each.samples.sums) for each in pairs])
    shown = [(pair, p) for pair, p in zip(pairs, adjusted, strict=True) if pair.one is best]
    level = 1 - ALPHA / max(len(pairs), 1)
    against = [pair.samples for pair, _ in shown]
    made = []
    for (pair, adjusted_p), gain in zip(
        shown, differences_of(against, [measure.range] * len(shown), level), strict=True
    ):
        p = max(adjusted_p, gain.p)
        made.append(
            Duel(
                group=best.group,
                target=best.target,
                best=best.defense,
                other=pair.other.defense,
                measure=measure.name,
                difference=gain,
                p=p,
                verdict=verdict(measure, gain.mean, gain.low, gain.high, p),
            )
        )
    return made


def _adjust(tests: list[Tested], spend: Callable[[float], float]) -> None:
    for each, p in zip(tests, westfall_young([each.sums for each in tests]), strict=True):
        cell, found = each.cell, each.cell.difference
        if found is None:
            raise ValueError("only differences are tested")
        # The flips are random; the exact test of the single difference is a lower bound.
        cell.p = min(1.0, spend(max(p, found.p)))
        cell.verdict = verdict(each.measure, found.mean, found.low, found.high, cell.p)


def _add_note(entry: Entry, note: str) -> None:
    entry.note = f"{entry.note}; {note}" if entry.note else note
