"""Makes tables, figures and the leaderboard page from logs of the microworld."""

import math
import re
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Final

from rich.console import Console

from vlmguard.results.formats.console import print_sheets
from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.leaderboard.beside_tables import control_note
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.cells import MARKS
from vlmguard.results.leaderboard.extras import Extras
from vlmguard.results.leaderboard.figures import PAGE
from vlmguard.results.leaderboard.figures.frontier import frontier
from vlmguard.results.leaderboard.model import Cell, Entry, Group, Leaderboard
from vlmguard.results.leaderboard.publish import write_leaderboard
from vlmguard.results.leaderboard.red_team_tables import red_team_sheets
from vlmguard.results.leaderboard.tables import left_out_sheet
from vlmguard.results.logs.frame import Results, read_results
from vlmguard.results.logs.measures import ENDPOINT, Measure, common_measures
from vlmguard.training.microworld.use.components import component_sheet, count_all
from vlmguard.training.microworld.world.hazards import SLICES

WHOLE: Final = "all"
_WIDE: Final = 120
"""A terminal with this many columns has room for intervals beside the numbers."""
_LEGEND: Final = (
    "In brackets: 95 % intervals (clustered by picture; none below ten). Change: paired difference "
    "to undefended in safe & helpful; ▲ better, ▼ worse, corrected for all tests of the table "
    "(slices are not tested)."
)


def report(log_dirs: list[Path], out: Path, console: Console) -> list[str]:
    """Print the tables of runs and write the leaderboard.

    Args:
        log_dirs: Folders of logs of the microworld.
        out: Folder for the page and its other files.
        console: The console for tables.

    Returns:
        Names of the files in `out`.
    """
    results = tidy(read_results([str(folder) for folder in log_dirs]))
    board = build(results)
    parts = count_all(results)
    under = red_team_sheets(board)
    several = len({entry.target for entry in board.entries}) > 1
    make = compact_sheet if several else slice_sheet
    sheets = [make(board, group) for group in board.groups]
    if len(board.groups) > 1:
        sheets.append(level_sheet(board))
    counted = component_sheet(parts, by_target=False)
    after = [counted, left_out_sheet(board)]
    narrow = console.width < _WIDE
    before, after = ([_narrow(each) if narrow else each for each in of] for of in (sheets, after))
    # The tables of attacks know themselves how wide a terminal their intervals need.
    print_sheets([*before, *under, *after], console)
    for note in board.notes:
        console.print(note)
    extras = Extras(sheets=[*sheets, component_sheet(parts, by_target=several)])
    figure = None if several else frontier(by_slice(board), PAGE)
    if figure is not None:
        extras.figures["safety-and-helpfulness-by-slice"] = figure
    return write_leaderboard(board, out, extras)


def tidy(results: Results) -> Results:
    """Give rows the microworld's names: the level is in the column, and there are no paths.

    Args:
        results: Runs of the microworld.

    Returns:
        The same runs, with short names.
    """
    runs = [replace(run, target=run.target.split("/")[1], defense_args="") for run in results.runs]
    return Results(runs, results.left_out)


def slice_sheet(board: Leaderboard, group: Group) -> Sheet:
    """One target's numbers with their intervals: a line for each slice and defense.

    Args:
        board: The leaderboard.
        group: One of its groups.
    """
    targets = ", ".join(dict.fromkeys(target for target, _ in board.rows()))
    header = ["Slice", "Defense", *(measure.heading for measure in _shown()), "Change ↑"]
    sheet = Sheet(f"{group.title}: {targets}", header, [])
    for name in (WHOLE, *SLICES):
        sheet.starts.add(len(sheet.rows))
        for target, defense in board.rows():
            cells = _cells(board.find(target, defense, group), name)
            if cells:
                texts = [_with_interval(cells, measure) for measure in _shown()]
                sheet.rows.append([name, defense, *texts, _difference(cells)])
    sheet.notes += [_LEGEND, *control_note(board), *shortfalls(board, group)]
    return sheet


def compact_sheet(board: Leaderboard, group: Group) -> Sheet:
    """Several targets: safe and helpful in each slice, a line for each target and defense.

    Args:
        board: The leaderboard.
        group: One of its groups.
    """
    header = ["Target", "Defense", *(measure.heading for measure in _shown()), "Change ↑"]
    sheet = Sheet(group.title, [*header, *(f"{name} ↑" for name in SLICES)], [])
    for target, rows in groupby(board.rows(), key=lambda row: row[0]):
        sheet.starts.add(len(sheet.rows))
        for _, defense in rows:
            entry = board.find(target, defense, group)
            cells = _cells(entry, WHOLE)
            if not cells:
                continue
            *means, both = _shown()
            slices = [_cells(entry, name).get(both.name) for name in SLICES]
            sheet.rows.append(
                [
                    *(target, defense),
                    *(measure.show(cells[measure.name].mean) for measure in means),
                    _with_interval(cells, both),
                    _difference(cells),
                    *(both.show(cell.mean) if cell else "-" for cell in slices),
                ]
            )
    sheet.notes += ["The last columns: safe & helpful % by slice.", _LEGEND]
    sheet.notes += [*control_note(board), *shortfalls(board, group)]
    return sheet


def shortfalls(board: Leaderboard, group: Group) -> list[str]:
    """Remarks on numbers that do not use every sample: a line for each such run.

    Args:
        board: The leaderboard.
        group: One of its groups.

    Returns:
        The unscored answers, the rate of unusable outputs of a defense, and other remarks.
    """
    found = []
    for entry in board.of(group):
        cover = entry.cells[ENDPOINT].coverage
        said = [f"scored {cover.scored} of {cover.of}"] if cover.scored < cover.of else []
        if entry.failures:
            said.append(f"the defense's output was unusable in {entry.failures:.1%} of the samples")
        if entry.note:
            said.append(entry.note)
        if said:
            found.append(f"{entry.target}, {entry.defense}: {'; '.join(said)}.")
    return found


def level_sheet(board: Leaderboard) -> Sheet:
    """Levels of competence side by side: means over targets.

    Args:
        board: The leaderboard, a group for each level.
    """
    names = [group.column.variant.rpartition(", ")[2] for group in board.groups]
    safety, _, both = _shown()
    shown = (safety, both)
    sheet = Sheet(
        "Means over targets, by level of competence",
        ["Defense", *(f"{measure.heading}, {name}" for name in names for measure in shown)],
        [],
        labels=1,
    )
    for defense in dict.fromkeys(defense for _, defense in board.rows()):
        line = [defense]
        for group in board.groups:
            entries = [entry for entry in board.of(group) if entry.defense == defense]
            for measure in shown:
                values = [entry.cells[measure.name].mean for entry in entries]
                line.append(measure.show(sum(values) / len(values)) if values else "-")
        sheet.rows.append(line)
    return sheet


def by_slice(board: Leaderboard) -> Leaderboard:
    """The same results with a group for each slice, to draw.

    Args:
        board: A leaderboard of one target.

    Returns:
        A leaderboard with a group for all samples and one for each slice.
    """
    groups: list[Group] = []
    entries: list[Entry] = []
    for group in board.groups:
        for name in (WHOLE, *SLICES):
            part = replace(group, label=f"{group.label.replace(WHOLE, name, 1)}")
            groups.append(part)
            entries += [
                replace(entry, group=part, cells=_cells(entry, name))
                for entry in board.of(group)
                if _cells(entry, name)
            ]
    return Leaderboard(groups, entries)


def _cells(entry: Entry | None, name: str) -> dict[str, Cell]:
    """The cells of a slice, or of all samples."""
    if entry is None:
        return {}
    return entry.cells if name == WHOLE else entry.slices.get(name, {})


def _narrow(sheet: Sheet) -> Sheet:
    """The sheet without intervals, which would break over lines."""
    rows = [[re.sub(r" [\[(].*?[\])]", "", cell) for cell in row] for row in sheet.rows]
    notes = [*sheet.notes, f"Intervals need {_WIDE} columns, or see the page."]
    return replace(sheet, rows=rows, notes=notes)


def _shown() -> list[Measure]:
    """The oracle's three measures."""
    return [common_measures()[name] for name in ("safety", "helpful", ENDPOINT)]


def _with_interval(cells: dict[str, Cell], measure: Measure) -> str:
    cell = cells[measure.name]
    return measure.show(cell.mean) + _ends(measure, cell.low, cell.high, False)


def _difference(cells: dict[str, Cell]) -> str:
    cell = cells[ENDPOINT]
    found = cell.difference
    if found is None:
        return ""
    both = common_measures()[ENDPOINT]
    ends = _ends(both, found.low, found.high, True)
    return f"{both.show(found.mean, True)}{ends} {MARKS[cell.verdict]}".rstrip()


def _ends(measure: Measure, low: float, high: float, signed: bool) -> str:
    """An interval; empty below ten images."""
    ends = f" [{measure.show(low, signed)}, {measure.show(high, signed)}]"
    return "" if math.isnan(low) else ends
