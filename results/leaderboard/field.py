"""One table of what each defense brings and what it costs, over all benchmarks of a target."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final

import numpy as np
import pandas as pd

from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.leaderboard.beside import HARMLESS, MIXED, RISKY, harm_of
from vlmguard.results.leaderboard.beside_tables import OVER_REFUSAL, control_note, refusals_note
from vlmguard.results.leaderboard.cells import MARKS
from vlmguard.results.leaderboard.model import (
    UNDEFENDED_LABEL,
    Beside,
    Entry,
    Group,
    Leaderboard,
)
from vlmguard.results.leaderboard.typeset import judges_said
from vlmguard.results.logs.measures import Measure
from vlmguard.results.logs.timing import p50_and_p95
from vlmguard.results.stats.differences import mean_interval
from vlmguard.results.stats.intervals import Numbers

__all__ = ["field_sheet", "known_costs"]

UNKNOWN: Final = "?"
_SAFE: Final = "safe"
_REQUESTS: Final = 1000
_COSTS: Final = 4
"""Last columns of the table, which are costs."""
_NOTES: Final = [
    "First each harm set's own label of safe answers, or what stands for it; then over-refusal of "
    "the harmless requests beside them; then, where those have a measure of help, what is lost or "
    "gained in use, paired, to the undefended target, + more useful. Marks and intervals are those "
    "of the other tables; -: nothing was scored.",
    "Costs are means over all answers of all benchmarks of a row: of target and guard in all "
    "stages, without the judge. Extra tokens: read and written, beyond the undefended target on "
    "the same benchmarks. Answers/s: by the clock, judging included (* shared with other runs). "
    "Latency: p50 and p95 of single answers at one connection, of all benchmarks together, where "
    "measured (vlmguard run --latency N; p95 of few answers is rough: n). Money in "
    "brackets: 95 % interval (clustered by image; none below ten images). Classifiers that run in "
    "the process of the evaluation cost no tokens and no money here.",
]
_WHY_UNKNOWN: Final = (
    f"{UNKNOWN}: not known, which is not zero. Money needs prices of every model of a row "
    "(model_cost_config: in the options of a configuration, --model-cost-config), latency a run of "
    "its own, extra tokens an undefended run; the table of costs says what else is missing."
)


def field_sheet(board: Leaderboard) -> Sheet:
    """A row for each target and defense: safety, over-refusal, change of utility, costs."""
    safe = [(g, m) for g in board.groups if g.kind in (RISKY, MIXED) and (m := _safe_of(g))]
    general = {each.partner for each in board.beside if each.group is None}
    refused = [
        (group, measure)
        for group in board.groups
        if group.kind in (HARMLESS, MIXED)
        and group not in general
        and (measure := _named(group, OVER_REFUSAL))
    ]
    changed = dict.fromkeys(_place(each) for each in board.beside if each.change)
    shown = {(group, measure.name) for group, measure in refused}
    useful = [place for place in changed if place not in shown]
    header = ["Target", "Defense"]
    header += [f"{group.title}\n{measure.heading}" for group, measure in safe]
    header += [f"{group.title}\n{measure.heading}" for group, measure in refused]
    header += [f"{group.title}\nChange of {group.by_name[name].label} ↑" for group, name in useful]
    costs = [
        "Extra tokens ↓",
        "Answers/s ↑",
        "Latency p50 / p95, s ↓",
        f"Money per {_REQUESTS:,} ↓",
    ]
    title = "What each defense brings, and what it costs"
    sheet = Sheet(title, [*header, *costs], [], notes=list(_NOTES))
    sheet.caption = judges_said(board.groups)
    for target, rows in groupby(board.rows(), key=lambda row: row[0]):
        sheet.starts.add(len(sheet.rows))
        for _, defense in rows:
            line = [target, defense]
            line += [_mean(board, (target, defense), *each) for each in [*safe, *refused]]
            line += [_change(board, (target, defense), *each) for each in useful]
            sheet.rows.append(line + _costs(board, target, defense))
    if any(UNKNOWN in row for row in sheet.rows):
        sheet.notes.append(_WHY_UNKNOWN)
    sheet.notes += [*refusals_note(board), *control_note(board)]
    return sheet


def known_costs(sheet: Sheet) -> Sheet:
    """The table of `field_sheet` without the costs that are not known of any row."""
    costs = range(len(sheet.header) - _COSTS, len(sheet.header))
    gone = [each for each in costs if {row[each] for row in sheet.rows} <= {UNKNOWN, ""}]
    if not gone:
        return sheet
    names = ", ".join(sheet.header[each].rstrip(" ↓↑") for each in gone)
    kept = [each for each in range(len(sheet.header)) if each not in gone]
    return replace(
        sheet,
        header=[sheet.header[each] for each in kept],
        rows=[[row[each] for each in kept] for row in sheet.rows],
        notes=[*sheet.notes, f"Not known of any row, so not shown: {names}."],
    )


def _safe_of(group: Group) -> Measure | None:
    return _named(group, _SAFE) or harm_of(group)


def _named(group: Group, name: str) -> Measure | None:
    """A measure of this name, the benchmark's own (`SCORER.NAME`) before the one that all have."""
    own = [each for each in group.measures if each.name.endswith(f".{name}")]
    return next(iter(own), group.by_name.get(name))


def _place(each: Beside) -> tuple[Group, str]:
    assert each.partner is not None  # what has changed has a partner
    return each.partner, each.partner_measure


def _mean(board: Leaderboard, row: tuple[str, str], group: Group, measure: Measure) -> str:
    entry = board.find(*row, group)
    if entry is None:
        return UNKNOWN
    cell = entry.cells[measure.name]
    shown = measure.show(cell.mean)
    return f"{shown} {MARKS[cell.verdict]}".rstrip()


def _change(board: Leaderboard, row: tuple[str, str], group: Group, name: str) -> str:
    entry = board.find(*row, group)
    if entry is None:
        return UNKNOWN
    measure, cell = group.by_name[name], entry.cells[name]
    if cell.difference is None:
        return "" if board.undefended(entry) is None else UNKNOWN
    found = cell.difference.turned(measure.better)
    shown = f"{measure.show(found.mean, signed=True)} {MARKS[cell.verdict]}".rstrip()
    if math.isnan(found.low):
        return shown
    return f"{shown}\n[{measure.show(found.low, True)}, {measure.show(found.high, True)}]"


def _costs(board: Leaderboard, target: str, defense: str) -> list[str]:
    entries = [each for each in board.entries if (each.target, each.defense) == (target, defense)]
    return [
        _extra_tokens(board, entries),
        _throughput(entries),
        _latency(entries),
        _money(entries),
    ]


def _extra_tokens(board: Leaderboard, entries: Sequence[Entry]) -> str:
    total, answers = 0.0, 0
    for entry in entries:
        base = board.undefended(entry)
        if base is None:
            continue
        if entry.overhead.tokens is None or base.overhead.tokens is None:
            return UNKNOWN
        total += (entry.overhead.tokens - base.overhead.tokens) * entry.samples
        answers += entry.samples
    if not answers:
        alone = all(board.undefended(entry) is None for entry in entries)
        return "" if alone and entries and entries[0].defense == UNDEFENDED_LABEL else UNKNOWN
    return f"{total / answers:+,.0f}"


def _throughput(entries: Sequence[Entry]) -> str:
    rates = [(entry.samples, entry.overhead.throughput) for entry in entries]
    if any(rate is None for _, rate in rates):
        return UNKNOWN
    seconds = sum(samples / rate for samples, rate in rates if rate)
    shared = " *" if any(entry.overhead.shared for entry in entries) else ""
    return f"{sum(samples for samples, _ in rates) / seconds:.3g}{shared}" if seconds else UNKNOWN


def _latency(entries: Sequence[Entry]) -> str:
    found = [each.run.latency for each in entries if each.run.latency]
    if len(found) < len(entries) or not found:
        return UNKNOWN
    seconds = [each for of_one in found for each in of_one]
    half, most = p50_and_p95(seconds)
    return f"{half:.3g} / {most:.3g}\nn {len(seconds)}"


def _money(entries: Sequence[Entry]) -> str:
    """Money for a thousand requests, with its interval."""
    known: list[pd.DataFrame] = []
    for entry in entries:
        answers = entry.run.answers
        if "cost" not in answers:
            return UNKNOWN
        # A failed answer has no tally: the mean is that of the others.
        known.append(answers[answers["calls"].notna()] if "calls" in answers else answers)
    values = [rows["cost"].to_numpy(dtype=float) for rows in known]
    costs: Numbers = np.concatenate([np.zeros(0), *values]).astype(np.float64)
    if not len(costs) or np.isnan(costs).any():
        return UNKNOWN
    clusters = [f"{place} {each}" for place, rows in enumerate(known) for each in rows["cluster"]]
    low, high = mean_interval(costs, np.array(clusters))
    shown = f"{costs.mean() * _REQUESTS:,.2f}"
    if math.isnan(low):
        return shown
    return f"{shown}\n[{low * _REQUESTS:,.2f}, {high * _REQUESTS:,.2f}]"
