"""What the page shows of an opened row: numbers with intervals, slices, categories, facts."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.leaderboard.cells import MARKS, blocked_text, cell_text, number, percent
from vlmguard.results.leaderboard.model import Cell, Entry, Leaderboard
from vlmguard.results.leaderboard.sections import Names
from vlmguard.results.leaderboard.unmarked import NO_INTERVAL, why_unmarked
from vlmguard.results.logs.measures import Measure, said_p

__all__ = ["difference_tip", "panels", "scored_tip"]

_COMMAND: Final = "Command"
_LOG: Final = "Log"


@dataclass
class Part:
    """What is shown of one run.

    Attributes:
        title: Its benchmark.
        benchmark: The same as the page is filtered by.
        summary: Its numbers in a line.
        notes: Sentences.
        cost: Cost of a sample, by headings.
        facts: What the run was, by headings.
        command: The command that makes it again; empty if it is not known.
        log: Address of its log; empty if it is not known.
        pages: Address of its samples; empty without.
        tables: Tables as title, header, rows and number of labels.
    """

    title: str
    benchmark: str
    summary: str
    notes: list[str] = field(default_factory=list)
    cost: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    command: str = ""
    log: str = ""
    pages: str = ""
    tables: list[dict[str, Any]] = field(default_factory=list)


def panels(board: Leaderboard, names: Names) -> list[dict[str, Any]]:
    """For each row of the main table, in its order, a part for each benchmark that it ran."""
    found = []
    for target, defense in board.rows():
        runs = [board.find(target, defense, group) for group in board.groups]
        parts = [asdict(_part(board, entry, names)) for entry in runs if entry is not None]
        found.append({"target": target, "defense": defense, "parts": parts})
    return found


def difference_tip(board: Leaderboard, entry: Entry, measure: Measure) -> str:
    """More about a difference: its interval, its pairs, and what the test says."""
    found = entry.cells[measure.name].difference
    if found is None:
        return ""
    pairs = f"{found.pairs} pairs, {found.clusters} images"
    ends = _interval(measure, found.low, found.high)
    return f"{ends}; {pairs}; {_mark(board, entry, measure)}"


def scored_tip(entry: Entry) -> str:
    """The means if all answers without a verdict were worst or best."""
    found = [
        f"{measure.label} ({cell.coverage.scored} of {cell.coverage.of}; {_reasons(cell)}) "
        f"{measure.show(cell.coverage.low)} to {measure.show(cell.coverage.high)}"
        for measure in entry.group.primary
        if (cell := entry.cells[measure.name]).coverage.scored < cell.coverage.of
    ]
    return f"If the rest were worst or best: {'; '.join(found)}" if found else "all scored"


def _part(board: Leaderboard, entry: Entry, names: Names) -> Part:
    group, facts = entry.group, dict(entry.facts)
    judged = {
        "Task": f"{group.column.benchmark} {group.column.version}",
        "Data": group.column.data,
        "Judge": group.judge or "none",
        "Templates and phrases": group.templates or "none",
    }
    return Part(
        title=group.title,
        benchmark=names.benchmark(group, board),
        summary=", ".join(
            f"{measure.heading} {cell_text(measure, entry.cells[measure.name], False)}".replace(
                "\n", " ("
            )
            + (")" if entry.cells[measure.name].difference else "")
            for measure in group.primary
            if measure.name in (group.endpoint, group.headline)
        ),
        notes=_notes(entry),
        cost=_cost(entry),
        command=facts.pop(_COMMAND, ""),
        log=facts.pop(_LOG, ""),
        facts={**facts, **judged},
        pages=entry.pages,
        tables=[
            {"title": sheet.title, "header": sheet.header, "rows": sheet.rows}
            for sheet in (_means(board, entry), _slices(entry), _categories(entry))
            if sheet.rows
        ],
    )


def _means(board: Leaderboard, entry: Entry) -> Sheet:
    header = ["Measure", "Mean", "95 % interval"]
    compared = any(cell.difference for cell in entry.cells.values())
    if compared:
        header += ["Difference", "95 % interval", "Marked, or why not"]
    sheet = Sheet("Means", [*header, "Scored", "Worst case"], [])
    for measure in entry.group.measures:
        cell = entry.cells[measure.name]
        cover, found = cell.coverage, cell.difference
        line = [measure.heading, measure.show(cell.mean), _ends(measure, cell.low, cell.high)]
        if compared and found is None:
            line += ["-", "-", "-"]
        elif found is not None:
            mark = MARKS[cell.verdict]
            change = f"{measure.show(found.mean, True)} {mark}".rstrip()
            ends = _ends(measure, found.low, found.high, True)
            line += [change, ends, _mark(board, entry, measure)]
        scored = f"{cover.scored} of {cover.of}\n{cell.clusters} images"
        line.append(f"{scored}\n{_reasons(cell)}" if cover.scored < cover.of else scored)
        lacks = cover.scored < cover.of
        line.append(_ends(measure, cover.low, cover.high) if lacks else "-")
        sheet.rows.append(line)
    return sheet


def _slices(entry: Entry) -> Sheet:
    """Slices as columns."""
    measures = [
        measure
        for measure in entry.group.measures
        if any(cells[measure.name].coverage.of for cells in entry.slices.values())
    ]
    title = "By slice: means, and differences with their 95 % intervals, which are not tested"
    sheet = Sheet(title, ["Measure", *entry.slices], [])
    if not entry.slices:
        return sheet
    for measure in measures:
        cells = [of[measure.name] for of in entry.slices.values()]
        texts = [cell_text(measure, cell) if cell.coverage.of else "-" for cell in cells]
        sheet.rows.append([measure.heading, *texts])
    counts = [max(cell.coverage.scored for cell in of.values()) for of in entry.slices.values()]
    sheet.rows.append(["Scored", *map(str, counts)])
    return sheet


def _categories(entry: Entry) -> Sheet:
    measures = entry.group.measures
    header = ["Category", *(measure.heading for measure in measures), "Scored"]
    sheet = Sheet("By category: means", header, [])
    for name, found in entry.categories.items():
        if name:
            means = [measure.show(found[measure.name][0]) for measure in measures]
            sheet.rows.append([name, *means, str(max(count for _, count in found.values()))])
    return sheet


def _notes(entry: Entry) -> list[str]:
    said = []
    if entry.counts:
        headline = entry.group.by_name[entry.group.headline].label
        counted = ", ".join(f"{kind} {count}" for kind, count in entry.counts.items())
        said.append(f"{headline}: {counted}.")
    said += [f"{blocked}." for blocked in [blocked_text(entry)] if blocked]
    kinds: list[tuple[str, dict[str, int]]] = [
        ("Replies of its guard", entry.outcomes),
        ("Failures of its guard", entry.failure_reasons),
        ("Not looked at", entry.skip_reasons),
    ]
    for what, of in kinds:
        if of:
            said.append(f"{what}: {', '.join(f'{name} {count}' for name, count in of.items())}.")
    said += [f"Note: {entry.note}."] if entry.note else []
    said += [f"Beside it: {entry.unpaired}."] if entry.unpaired else []
    return said


def _cost(entry: Entry) -> dict[str, str]:
    cost = entry.overhead
    shown: dict[str, str] = {
        "Calls": number(cost.calls, ".2f"),
        "Tokens": number(cost.tokens, ".0f"),
        "Answers/s": number(cost.throughput, ".3g", " *" if cost.shared else ""),
        "Latency": number(cost.latency, ".3g", f" s (n {cost.latency_of})"),
        "Money": number(cost.cost, ".6f"),
        "Guard failed": _share(entry.failures),
        "Intervened": _share(entry.triggered),
        "Skipped": _share(entry.skipped),
        "Not known": cost.gap,
    }
    return {name: text for name, text in shown.items() if text not in ("-", "")}


def _share(share: float | None) -> str:
    return "-" if share is None else f"{percent(share)} %"


def _mark(board: Leaderboard, entry: Entry, measure: Measure) -> str:
    cell = entry.cells[measure.name]
    why = why_unmarked(board, entry, measure)
    if why:
        return f"not marked: {why}"
    return f"{MARKS[cell.verdict]} {cell.verdict}: {said_p(cell.p)} after correction"


def _interval(measure: Measure, low: float, high: float) -> str:
    if math.isnan(low):
        return NO_INTERVAL
    return f"95 % interval {_ends(measure, low, high, True)}"


def _ends(measure: Measure, low: float, high: float, signed: bool = False) -> str:
    if math.isnan(low):
        return "none"
    return f"{measure.show(low, signed)} to {measure.show(high, signed)}"


def _reasons(cell: Cell) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in cell.coverage.reasons.items())
