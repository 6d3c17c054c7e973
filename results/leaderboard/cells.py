"""Texts of single cells of a leaderboard's tables: means, differences, what was scored."""

import math

from vlmguard.results.leaderboard.model import Cell, Entry, Group
from vlmguard.results.logs.coverage import SCORED, TOTAL, Coverage
from vlmguard.results.logs.measures import Measure

MARKS = {"better": "▲", "worse": "▼", "": ""}


def cell_text(measure: Measure, cell: Cell, interval: bool = True) -> str:
    """A mean, and below it the difference with its mark and (if wanted) interval, if any."""
    lines = [measure.show(cell.mean)]
    difference = cell.difference
    if difference is not None:
        mark = MARKS[cell.verdict]
        lines.append(f"{measure.show(difference.mean, signed=True)}{' ' + mark if mark else ''}")
        if interval and not math.isnan(difference.low):
            low, high = measure.show(difference.low, True), measure.show(difference.high, True)
            lines.append(f"[{low}, {high}]")
    return "\n".join(lines)


def scored_text(entry: Entry, group: Group) -> str:
    """What the headline's scorer scored, with the headline's bounds; empty without any measure.

    If less was scored in another measure of the table, the least of them is told, too.
    """
    measure = group.by_name.get(group.headline)
    if measure is None:
        return ""
    cell = entry.cells[measure.name]
    text = _scored(entry.counts[SCORED], entry.counts[TOTAL], entry.images, cell, measure)
    return text + _least(entry, group)


def scored_cell(cell: Cell, measure: Measure) -> str:
    """Scored answers, their images, and the bounds of the mean if some answers are missing."""
    return _scored(cell.coverage.scored, cell.coverage.of, cell.clusters, cell, measure)


def _scored(scored: int, of: int, images: int, cell: Cell, measure: Measure) -> str:
    found = cell.coverage
    text = f"{scored} of {of}\n{images} image{'' if images == 1 else 's'}"
    if found.scored == found.of:
        return text
    return f"{text}\n[{measure.show(found.low)}, {measure.show(found.high)}]"


def scored_and_failed(entry: Entry, group: Group) -> str:
    """`scored_text` without images and bounds, and the shares of the guard's failures and skips."""
    failed = f"\nfailed {entry.failures * 100:.1f} %" if entry.failures else ""
    skipped = f"\nskipped {entry.skipped * 100:.1f} %" if entry.skipped else ""
    least = _least(entry, group)
    return scored_text(entry, group).split("\n")[0] + least + failed + skipped


def _least(entry: Entry, group: Group) -> str:
    """A line on the measure of a table that lacks the most verdicts, if more than the headline."""
    covers = [entry.cells[measure.name].coverage for measure in group.primary]
    least = max(covers, key=_lacking, default=None)
    lacking = entry.counts.get(TOTAL, 0) - entry.counts.get(SCORED, 0)
    if least is None or _lacking(least) <= lacking:
        return ""
    return f"\nleast {least.scored} of {least.of}"


def _lacking(cover: Coverage) -> int:
    return cover.of - cover.scored


def unscored_reasons(measures: list[Measure], entry: Entry) -> str:
    """Why answers have no value, with measures grouped by reasons; empty if all have one."""
    by_reasons: dict[str, list[str]] = {}
    for measure in measures:
        reasons = entry.cells[measure.name].coverage.reasons
        if reasons:
            told = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
            by_reasons.setdefault(told, []).append(measure.label)
    return "; ".join(f"{', '.join(labels)}: {told}" for told, labels in by_reasons.items())


def blocked_text(entry: Entry) -> str:
    """How many answers the defense blocked, and the model's refusals apart; empty without any."""
    blocked = entry.outputs.get("blocked", 0)
    if not blocked:
        return ""
    told = f"blocked by the defense: {blocked} of {sum(entry.outputs.values())} answers"
    if not entry.refusals:
        return told
    count = sum(entry.refusals.values())
    return f"{told}; refused: {count}, by the defense {blocked}, by the model {count - blocked}"


def percent(share: float | None) -> str:
    """A share of 0 to 1 as percent, `-` if not known."""
    return "-" if share is None else f"{share * 100:.1f}"


def number(value: float | None, form: str, unit: str = "") -> str:
    """A number in a Python format with its unit, `-` if not known."""
    return "-" if value is None else f"{value:{form}}{unit}"
