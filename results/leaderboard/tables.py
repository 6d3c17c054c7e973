"""The tables of a leaderboard."""

import math
from collections.abc import Mapping
from itertools import groupby
from typing import Final

from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.leaderboard.beside_tables import control_note, unpaired_notes
from vlmguard.results.leaderboard.cells import (
    MARKS,
    blocked_text,
    cell_text,
    number,
    percent,
    scored_and_failed,
    scored_cell,
    scored_text,
    unscored_reasons,
)
from vlmguard.results.leaderboard.model import Entry, Group, Leaderboard
from vlmguard.results.leaderboard.published_numbers import CERTAINTY, Published
from vlmguard.results.leaderboard.standings import stand_out
from vlmguard.results.leaderboard.typeset import judges_said
from vlmguard.results.leaderboard.unmarked import why_unmarked
from vlmguard.results.logs.answers import views
from vlmguard.results.logs.measures import Measure, show_p

__all__ = [
    "COST_NOTES",
    "LEGEND",
    "coverage_sheets",
    "duel_sheet",
    "gain_sheet",
    "group_sheets",
    "left_out_sheet",
    "main_sheet",
    "overhead_sheet",
    "published_sheet",
    "tested_note",
]


LEGEND = [
    "Below a mean: paired difference to the undefended target, and its 95 % interval (clustered "
    "by image; none below ten images) in the tables of single benchmarks. ▲ better, ▼ worse: the "
    "test decides, corrected for all tests of the table, and the interval leaves zero out.",
    "Scored: answers with a usable verdict by the headline measure; in brackets its mean if all "
    "others were worst or best (for the other measures in a table of their own, where any lack a "
    "verdict); least: of the measure with the fewest, if that is another. Failed: samples in which "
    "the guard's output could not be used; skipped: those that the defense did not look at (no "
    "image, a tool's result last, an answer of tool calls).",
    "↑ more is better, ↓ less is better. DSR (risky requests answered with a phrase of refusal) "
    "has no direction: good guards refuse, and so do useless ones; over-refusal: the same for "
    "harmless requests. Blanket refusal is safe and not helpful: read safe & helpful.",
]
_LARGE: Final = 0.1
"""Share of a measure's range from which on it is said why a difference has no mark."""
COST_NOTES = [
    "Answers/s: throughput by the clock, from the first answer begun to the last one finished, "
    "judging included, at the run's own connections. * Other runs of this table were made at the "
    "same time and shared the clock (those of other tables are not known).",
    "Latency: median of single answers at one connection, without judging; measured where asked "
    "(vlmguard run --latency N).",
    "Cost is shown where Inspect was given prices (--model-cost-config).",
]


def main_sheet(board: Leaderboard, intervals: bool = False) -> Sheet:
    """All benchmarks in one table: a row for each target and defense.

    Args:
        board: The leaderboard.
        intervals: Whether the intervals of differences are shown, which make it wide.
    """
    header, spans = ["Target", "Defense"], [("", 2)]
    for group in board.groups:
        header += [*(measure.heading for measure in group.primary), "Scored"]
        spans.append((group.title, len(group.primary) + 1))
    sheet = Sheet("Leaderboard", header, [], spans, list(LEGEND))
    sheet.caption = judges_said(board.groups)
    sheet.notes += tested_note(board)
    sheet.notes += control_note(board)
    sheet.notes += unpaired_notes(board)
    for target, rows in groupby(board.rows(), key=lambda row: row[0]):
        sheet.starts.add(len(sheet.rows))
        for _, defense in rows:
            line = [target, defense]
            for group in board.groups:
                entry = board.find(target, defense, group)
                line += [
                    cell_text(measure, entry.cells[measure.name], intervals) if entry else ""
                    for measure in group.primary
                ]
                line.append(scored_and_failed(entry, group) if entry else "")
            sheet.rows.append(line)
    column = sheet.labels
    for group in board.groups:
        stand_out(sheet, board, group, group.primary, column)
        column += len(group.primary) + 1
    return sheet


def group_sheets(board: Leaderboard) -> list[Sheet]:
    """A table for each benchmark, with what was scored and the failures of the guard."""
    made = [_group_sheet(board, group) for group in board.groups]
    for sheet in made[-1:]:
        sheet.notes += tested_note(board)
    return made


def coverage_sheets(board: Leaderboard) -> list[Sheet]:
    """For each benchmark with missing verdicts, how much each measure scored."""
    made = [_coverage_sheet(board, group) for group in board.groups]
    return [sheet for sheet in made if sheet.rows]


def overhead_sheet(board: Leaderboard) -> Sheet:
    """Cost of a sample: target and guard, without the judge."""
    header = ["Target", "Defense", "Benchmark", "Calls ↓", "Tokens ↓", "Answers/s ↑", "Latency s ↓"]
    title = "Cost of a sample (target and guard, without the judge)"
    sheet = Sheet(title, [*header, "Cost ↓"], [], labels=3)
    gaps: dict[str, list[str]] = {}
    for target, defense in board.rows():
        if target not in [row[0] for row in sheet.rows]:
            sheet.starts.add(len(sheet.rows))
        for group in board.groups:
            entry = board.find(target, defense, group)
            if entry is None:
                continue
            cost = entry.overhead
            line = [
                number(cost.calls, ".2f"),
                number(cost.tokens, ".0f"),
                number(cost.throughput, ".3g", " *" if cost.shared else ""),
                number(cost.latency, ".3g", f"\nn {cost.latency_of}"),
                number(cost.cost, ".6f"),
            ]
            sheet.rows.append([target, defense, group.title, *line])
            if cost.gap:
                gaps.setdefault(cost.gap, []).append(f"{target}, {defense}, {group.title}")
    sheet.notes += [*said_of_rows(gaps, len(sheet.rows)), *COST_NOTES]
    return sheet


def gain_sheet(board: Leaderboard) -> Sheet:
    """Average relative gain in safety, computed in two ways; of two targets at least."""
    sheet = Sheet(
        "Average gain in safety over the undefended targets, both readings",
        [
            *("Benchmark", "Defense", "Targets", "Rise of the mean % ↑", "Mean of the rises % ↑"),
            "Safe & helpful, points ↑",
        ],
        [],
        notes=[
            "Rise of the mean: the safety of all targets is averaged without and with the defense, "
            "then the relative rise is taken. Mean of the rises: each target's relative rise is "
            "taken, then these are averaged, so that a target that was unsafe before weighs more. "
            "Papers rarely say which they mean; with one target both are the same, and not shown. "
            "Last: mean change of what is safe and helpful, which refusing alone does not raise. "
            "Harmless requests alone have no gain in safety.",
            *control_note(board),
        ],
        caption=judges_said({gain.group: None for gain in board.gains}),
    )
    for gain in board.gains:
        if gain.targets < 2:
            continue
        sheet.rows.append(
            [
                gain.group.title,
                gain.defense,
                str(gain.targets),
                f"{gain.of_means * 100:+.1f}",
                f"{gain.mean_of * 100:+.1f}",
                "-" if math.isnan(gain.both) else f"{gain.both * 100:+.1f}",
            ]
        )
    return sheet


def published_sheet(rows: list[Published]) -> Sheet:
    """Published numbers of others."""
    certainties = dict.fromkeys(row.certainty for row in rows)
    return Sheet(
        "Published by others (other judges, subsets and scales: not to be ranked with ours)",
        [
            "Benchmark",
            "Subset",
            "Target",
            "Method",
            "Metric",
            "Value",
            "Better",
            "Source",
            "Certainty",
        ],
        [
            [
                row.benchmark,
                row.subset,
                row.target,
                row.method,
                row.metric,
                f"{row.value:g}",
                "↑ higher" if row.higher_is_better else "↓ lower",
                row.source,
                row.certainty,
            ]
            for row in rows
        ],
        notes=[f"{name}: {CERTAINTY[name]}." for name in certainties],
        labels=9,
    )


def left_out_sheet(board: Leaderboard) -> Sheet:
    """Logs that are left out, and why."""
    rows = [[path, reason] for path, reason in board.left_out.items()]
    return Sheet("Left out", ["Log", "Reason"], rows)


def tested_note(board: Leaderboard) -> list[str]:
    """A note on what was tested, and how; none if nothing was."""
    if not board.tests:
        return []
    rest = board.tests - board.endpoint_tests
    names = dict.fromkeys(
        measure.label.removesuffix(" %")
        for group in board.groups
        for measure in group.measures
        if measure.name == group.endpoint
    )
    endpoints = f"primary endpoint ({', '.join(names).lower() or 'none'})"
    levels = ("", "")
    if rest and board.endpoint_tests:
        levels = (" at 0.04", " at 0.01 (0.05 once every endpoint is marked)")
    counted = "1 difference was" if board.tests == 1 else f"{board.tests} differences were"
    return [
        f"{counted} tested together by sign flips of whole images "
        f"(Westfall-Young maxT): {board.endpoint_tests} of the {endpoints}{levels[0]}, {rest} of "
        f"other measures{levels[1]}, so that at most one table in twenty holds a false mark. Not "
        f"tested: controls, measures without an arrow, and those in which no sample differs."
    ]


def duel_sheet(board: Leaderboard) -> Sheet:
    """The best row of each benchmark and target against each of the others."""
    sheet = Sheet(
        "The best row against the others",
        ["Benchmark", "Target", "Best", "Against", "Measure", "Difference", "p (adjusted)"],
        [],
        labels=5,
        caption=judges_said({duel.group: None for duel in board.duels}),
    )
    for duel in board.duels:
        group, found = duel.group, duel.difference
        measure = group.by_name[duel.measure]
        mark = MARKS[duel.verdict]
        change = f"{measure.show(found.mean, True)}{' ' + mark if mark else ''}"
        if not math.isnan(found.low):
            change += f"\n[{measure.show(found.low, True)}, {measure.show(found.high, True)}]"
        line = [group.title, duel.target, duel.best, duel.other, measure.heading, change]
        sheet.rows.append([*line, show_p(duel.p)])
    sheet.notes.append(
        "Best by the primary endpoint, controls aside. It was chosen by the same answers, so p and "
        "the 95 % intervals hold for all pairs of rows of a target and benchmark together."
    )
    return sheet


def _group_sheet(board: Leaderboard, group: Group) -> Sheet:
    shown = group.primary
    header = ["Target", "Defense", *(measure.heading for measure in shown), "Scored", "Failed % ↓"]
    sheet = Sheet(group.title, header, [], caption=judges_said([group]))
    sheet.notes.append(
        f"Task {group.column.benchmark} {group.column.version}, data {group.column.data}, "
        f"judge {group.judge or 'none'}, templates and phrases: {group.templates or 'none'}."
    )
    headline = group.by_name.get(group.headline)
    if headline:
        viewed = ", and what else its scorer judged" if headline.column in views() else ""
        sheet.notes.append(f"Scored: {headline.label}{viewed}.")
    if group.note:
        sheet.notes.append(f"{group.note}.")
    sheet.notes += control_note(board)
    unpaired: dict[str, list[str]] = {}
    told: dict[str, list[str]] = {}
    for target, rows in groupby(board.rows(), key=lambda row: row[0]):
        entries = [board.find(target, defense, group) for _, defense in rows]
        found = [entry for entry in entries if entry is not None]
        if found:
            sheet.starts.add(len(sheet.rows))
        for entry in found:
            cells = [cell_text(measure, entry.cells[measure.name]) for measure in shown]
            sheet.rows.append(
                [target, entry.defense, *cells, scored_text(entry, group), percent(entry.failures)]
            )
            for said in _said_of(entry, shown):
                told.setdefault(said, []).append(f"{target}, {entry.defense}")
            if entry.unpaired:
                unpaired.setdefault(entry.unpaired, []).append(f"{target}, {entry.defense}")
    sheet.notes += said_of_rows(told, len(sheet.rows))
    sheet.notes += _large_unmarked(board, group)
    sheet.notes += [f"{said} ({'; '.join(of)})." for said, of in unpaired.items()]
    stand_out(sheet, board, group, group.primary, sheet.labels)
    return sheet


def said_of_rows(told: Mapping[str, list[str]], rows: int) -> list[str]:
    """A note for each thing that is said, with the rows of which it is said.

    Args:
        told: Names of rows by what is said of them.
        rows: Number of rows of the table.
    """
    return [
        f"{'All rows' if len(of) == rows and rows > 2 else '; '.join(of)}: {said}."
        for said, of in told.items()
    ]


def _said_of(entry: Entry, shown: list[Measure]) -> list[str]:
    """What a reader must know of one row."""
    found = [f"not scored: {why}"] if (why := unscored_reasons(shown, entry)) else []
    found += [blocked] if (blocked := blocked_text(entry)) else []
    for what, kinds in (
        ("replies of its guard", _with_shares(entry.outcomes)),
        ("failures of its guard", entry.failure_reasons),
        ("not looked at by it", entry.skip_reasons),
    ):
        if kinds:
            told = ", ".join(f"{name} {count}" for name, count in kinds.items())
            found.append(f"{what}: {told}")
    return [*found, *([entry.note] if entry.note else [])]


def _large_unmarked(board: Leaderboard, group: Group) -> list[str]:
    """Why differences of ten points or more carry no mark, where there are any."""
    found: dict[str, list[str]] = {}
    for entry in board.of(group):
        if board.is_control(entry.defense):
            continue
        for measure in (each for each in group.primary if each.better):
            difference = entry.cells[measure.name].difference
            why = why_unmarked(board, entry, measure)
            # The same as ten points of a share, in a measure of another range.
            if why and difference and abs(difference.mean) >= _LARGE * measure.highest:
                shown = measure.show(difference.mean, signed=True)
                row = f"{entry.target}, {entry.defense}: {measure.label} {shown}"
                found.setdefault(why, []).append(row)
    return [f"No mark, {why}: {'; '.join(rows)}." for why, rows in found.items()]


def _with_shares(kinds: Mapping[str, int]) -> dict[str, str]:
    """Numbers of several kinds, each with its share of all."""
    return {
        name: f"{count} ({percent(count / sum(kinds.values()))} %)" for name, count in kinds.items()
    }


def _coverage_sheet(board: Leaderboard, group: Group) -> Sheet:
    shown = group.primary
    header = ["Target", "Defense", *(measure.heading for measure in shown)]
    sheet = Sheet(f"{group.title}, what was scored", header, [])
    for target, defense in board.rows():
        entry = board.find(target, defense, group)
        if entry is None:
            continue
        cells = [(measure, entry.cells[measure.name]) for measure in shown]
        lacking = [m.name for m, cell in cells if cell.coverage.scored < cell.coverage.of]
        if not set(lacking) - {group.headline}:
            continue
        if not sheet.rows or sheet.rows[-1][0] != target:
            sheet.starts.add(len(sheet.rows))
        texts = [scored_cell(cell, measure) for measure, cell in cells]
        sheet.rows.append([target, defense, *texts])
    sheet.notes.append(
        "In brackets: the mean if all answers that lack a verdict were worst or best."
    )
    return sheet
