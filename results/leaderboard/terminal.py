"""The tables of a leaderboard in a terminal: one that tells the result first, then its details.

A table that would only repeat another one is left out here; files have all of them.
"""

from dataclasses import replace
from itertools import groupby
from typing import Final

from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.leaderboard.beside_tables import (
    OVER_REFUSAL,
    beside_sheet,
    control_note,
    counts_sheet,
)
from vlmguard.results.leaderboard.cells import MARKS, number
from vlmguard.results.leaderboard.field import field_sheet, known_costs
from vlmguard.results.leaderboard.labels import footnote_lines
from vlmguard.results.leaderboard.model import UNDEFENDED_LABEL, Entry, Group, Leaderboard
from vlmguard.results.leaderboard.red_team_tables import red_team_sheets
from vlmguard.results.leaderboard.slices import slice_sheets
from vlmguard.results.leaderboard.standings import stand_out
from vlmguard.results.leaderboard.tables import (
    coverage_sheets,
    duel_sheet,
    gain_sheet,
    group_sheets,
    overhead_sheet,
)
from vlmguard.results.logs.coverage import SCORED, TOTAL
from vlmguard.results.logs.measures import Measure

__all__ = ["names_notes", "short_sheet", "terminal_sheets"]

_LEGEND: Final = (
    "↑ more is better, ↓ less is better. ▲ better, ▼ worse than the undefended target by a test "
    "that is corrected for all tests; no mark: not shown to differ. Bold: the best mean of a "
    "target, underlined the second, which no test decides."
)


def terminal_sheets(board: Leaderboard) -> list[Sheet]:
    """All tables that a terminal shows, the result first.

    Args:
        board: The leaderboard.

    Returns:
        Of a single run one table; else the main one, what each defense brings and costs, harm
        beside harmless, attacks, a table for each benchmark, and so on, each if it says more.
    """
    if len(board.entries) == 1 and board.attacked is None:
        return [_only_sheet(board, board.entries[0]), *slice_sheets(board)]
    defended = any(each.defense != UNDEFENDED_LABEL for each in board.entries)
    sheets = [short_sheet(board)]
    sheets += [known_costs(field_sheet(board))] if defended else []
    sheets += [beside_sheet(board)] if any(each.partner for each in board.beside) else []
    sheets += [*red_team_sheets(board), *group_sheets(board)]
    sheets += [counts_sheet(board)] if _lacking(board) else []
    sheets += [*coverage_sheets(board), duel_sheet(board), *slice_sheets(board)]
    sheets += [overhead_sheet(board), gain_sheet(board)]
    under = board.attacked
    if under is None:
        return sheets
    counted, costs = counts_sheet(under), overhead_sheet(under)
    sheets += group_sheets(under)
    sheets += [replace(counted, title=f"{counted.title}, under attack")] if _lacking(under) else []
    sheets += [*coverage_sheets(under), *slice_sheets(under)]
    return [*sheets, replace(costs, title=f"{costs.title}, under attack")]


def short_sheet(board: Leaderboard) -> Sheet:
    """A row for each target and defense, with the headline of each benchmark alone."""
    shown = [(group, _headlines(group)) for group in board.groups]
    spans = [("", 2), *((group.title, len(measures)) for group, measures in shown)]
    header = ["Target", "Defense", *(m.heading for _, measures in shown for m in measures)]
    sheet = Sheet("Leaderboard", header, [], spans, [_LEGEND])
    for target, rows in groupby(board.rows(), key=lambda row: row[0]):
        sheet.starts.add(len(sheet.rows))
        for _, defense in rows:
            line = [target, defense]
            for group, measures in shown:
                entry = board.find(target, defense, group)
                line += [_mean(entry, measure) if entry else "" for measure in measures]
            sheet.rows.append(line)
    column = sheet.labels
    for group, measures in shown:
        stand_out(sheet, board, group, measures, column)
        column += len(measures)
    sheet.notes += [*names_notes(board), *control_note(board)]
    return sheet


def names_notes(board: Leaderboard) -> list[str]:
    """What short names stand for: models in full, and the numbered footnotes."""
    pairs = {entry.target: entry.run.target for entry in board.entries}
    pairs |= {each.target: each.run.target for each in (board.attacked or board).entries}
    full = dict.fromkeys(name for label, name in pairs.items() if not label.startswith(name))
    models = [f"Models in full: {', '.join(full)}."] if full else []
    return [*models, *footnote_lines(board.footnotes)]


def _headlines(group: Group) -> list[Measure]:
    """The headline measure of a benchmark, its primary endpoint, and what is refused needlessly."""
    wanted = (group.headline, group.endpoint, OVER_REFUSAL)
    return [each for each in group.measures if each.name in wanted] or group.primary[:1]


def _mean(entry: Entry, measure: Measure) -> str:
    cell = entry.cells[measure.name]
    text = f"{measure.show(cell.mean)} {MARKS[cell.verdict]}".rstrip()
    cover = cell.coverage
    return text if cover.scored == cover.of else f"{text}\n{cover.scored} of {cover.of}"


def _lacking(board: Leaderboard) -> bool:
    """Whether any answer has no verdict of its benchmark's headline."""
    return any(e.counts and e.counts[SCORED] < e.counts[TOTAL] for e in board.entries)


def _only_sheet(board: Leaderboard, entry: Entry) -> Sheet:
    """A single run: a row for each of its measures."""
    title = f"{entry.group.title}: {entry.target}, {entry.defense}"
    sheet = Sheet(title, ["Measure", "Mean", "95 % interval", "Scored"], [], labels=1)
    for measure in entry.group.primary:
        cell, cover = entry.cells[measure.name], entry.cells[measure.name].coverage
        low, high = measure.show(cell.low), measure.show(cell.high)
        ends = "" if low == "-" else f"[{low}, {high}]"
        scored = f"{cover.scored} of {cover.of}"
        sheet.rows.append([measure.heading, measure.show(cell.mean), ends, scored])
    cost = entry.overhead
    for name, shown in (
        ("Calls a sample ↓", number(cost.calls, ".2f")),
        ("Tokens a sample ↓", number(cost.tokens, ".0f")),
        ("Cost a sample ↓", number(cost.cost, ".6f")),
    ):
        sheet.rows += [[name, shown, "", ""]] if shown != "-" else []
    (whole,) = group_sheets(board)
    sheet.notes += [
        "↑ more is better, ↓ less is better. Intervals: clustered by image; none below ten images. "
        "Calls and tokens are those of target and guard, without the judge.",
        *names_notes(board),
        *whole.notes,
    ]
    sheet.notes += [f"{cost.gap}."] if cost.gap else []
    return sheet
