"""The tables of a benchmark's slices: a column for each slice, below each measure."""

from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.leaderboard.cells import cell_text
from vlmguard.results.leaderboard.model import Cell, Entry, Group, Leaderboard
from vlmguard.results.leaderboard.typeset import judges_said
from vlmguard.results.logs.measures import Measure

__all__ = ["slice_sheets"]


def slice_sheets(board: Leaderboard) -> list[Sheet]:
    """A table for each benchmark with several slices."""
    made = [_slice_sheet(board, group) for group in board.groups]
    return [sheet for sheet in made if sheet.rows]


def _slice_sheet(board: Leaderboard, group: Group) -> Sheet:
    rows = [
        entry
        for target, defense in board.rows()
        if (entry := board.find(target, defense, group)) and entry.slices
    ]
    names = list(dict.fromkeys(name for entry in rows for name in entry.slices))
    # A measure may not apply to a slice: without benign samples there is no over-refusal.
    about = {
        measure: [name for name in names if any(_of(each, name, measure) for each in rows)]
        for measure in group.primary
    }
    shown = [(measure, name) for measure, of in about.items() for name in of]
    header = ["Target", "Defense", *(_heading(rows, *each) for each in shown)]
    spans = [("", 2), *((measure.heading, len(of)) for measure, of in about.items() if of)]
    sheet = Sheet(f"{group.title}, by slice", header, [], spans if shown else [])
    sheet.caption = judges_said([group])
    for entry in rows:
        if not sheet.rows or sheet.rows[-1][0] != entry.target:
            sheet.starts.add(len(sheet.rows))
        cells = [_text(_of(entry, name, measure), measure) for measure, name in shown]
        sheet.rows.append([entry.target, entry.defense, *cells])
    sheet.notes.append(
        "Differences within slices are shown with their intervals, not tested. n: answers of a "
        "slice; where some lack a verdict, a cell says of how many it is, and in brackets its mean "
        "if all others were worst or best."
    )
    return sheet


def _of(entry: Entry, name: str, measure: Measure) -> Cell | None:
    """A measure in a slice; None if it does not apply, or if the run has no such slice."""
    cell = entry.slices.get(name, {}).get(measure.name)
    return cell if cell and cell.coverage.of else None


def _heading(rows: list[Entry], measure: Measure, name: str) -> str:
    """A slice with its number of answers, if all rows have the same."""
    sizes = {cell.coverage.of for each in rows if (cell := _of(each, name, measure))}
    return f"{name} (n {sizes.pop()})" if len(sizes) == 1 else name


def _text(cell: Cell | None, measure: Measure) -> str:
    if cell is None:
        return ""
    text, cover = cell_text(measure, cell), cell.coverage
    if cover.scored == cover.of:
        return text
    ends = f"[{measure.show(cover.low)}, {measure.show(cover.high)}]"
    return f"{text}\n{cover.scored} of {cover.of}\n{ends}"
