"""Sheets as tables of a terminal, as wide as it is.

Names of models and texts of logs are foreign: they are never read as markup.
"""

from dataclasses import replace
from itertools import pairwise
from typing import Final

from rich.box import SIMPLE
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.sanitize import clean

# Narrower terminals break numbers over lines rather than cut names off.
WIDE: Final = 110
"""Columns of a terminal that has room for names of targets beside numbers."""
_ROOMY: Final = 130
"""With fewer columns, no row of a compact table takes a second line for its intervals."""
_LAST_FOLDED: Final = "Defense"
_LEAST: Final = 8
"""Columns of a terminal that a name keeps before numbers are broken."""


def print_sheets(sheets: list[Sheet], console: Console) -> None:
    """Print sheets as rich tables.

    Args:
        sheets: What to print; empty ones are skipped.
        console: Where to.
    """
    for sheet in sheets:
        if sheet.rows:
            console.print(_rich(sheet, console))


def _rich(sheet: Sheet, console: Console) -> RenderableType:
    notes = [Text(f"  {clean(note)}", style="dim") for note in sheet.notes]
    wide = _whole(sheet, console) if sheet.compact else WIDE
    if console.width >= wide:
        return Group(_wide_table(sheet, console), *notes, Text(""))
    if not sheet.starts:
        return Group(_narrow_table(sheet, console), *notes, Text(""))
    # No room for a column of targets: a table for each, without intervals.
    blocks = [sheet.rows[a:b] for a, b in pairwise([*sorted(sheet.starts), len(sheet.rows)])]
    tables = [
        _narrow_table(
            Sheet(
                f"{sheet.title}: {rows[0][0]}",
                sheet.header[1:],
                [[_without_brackets(cell) for cell in row[1:]] for row in rows],
                labels=sheet.labels - 1,
            ),
            console,
        )
        for rows in blocks
    ]
    notes.append(Text(f"  Intervals need {wide} columns, or --out.", style="dim"))
    return Group(*tables, *notes, Text(""))


def _whole(sheet: Sheet, console: Console) -> int:
    """The columns of a terminal in which a wide table breaks headings between words at most."""
    least = [
        max(_measured(text, console).maximum for text in [*name.split(" "), *cells])
        for name, *cells in zip(sheet.header, *sheet.rows, strict=True)
    ]
    return max(_ROOMY, sum(least) + 3 * len(least) + 1)


def _wide_table(sheet: Sheet, console: Console) -> Table:
    table = Table(title=_bold(sheet.title), title_justify="left", box=SIMPLE)
    # Each column has a blank at either side, and a separator.
    _add_columns(table, sheet, console, console.width - 3 * len(sheet.header) - 1)
    for number, row in enumerate(sheet.rows):
        if number in sheet.starts and number:
            table.add_section()
        # Within a block the target is named once.
        repeated = bool(sheet.starts) and number not in sheet.starts
        table.add_row(*(_coloured(cell) for cell in ["" if repeated else row[0], *row[1:]]))
    return table


def _narrow_table(sheet: Sheet, console: Console) -> Table:
    table = Table(
        title=_bold(sheet.title),
        title_justify="left",
        box=SIMPLE,
        padding=0,
        pad_edge=False,
        show_edge=False,
    )
    header = [name.replace("Over-", "Over- ") for name in sheet.header]
    shown = replace(sheet, header=header)
    _add_columns(table, shown, console, console.width - len(header) + 1)
    for row in sheet.rows:
        table.add_row(*(_coloured(cell) for cell in row))
    return table


def _add_columns(table: Table, sheet: Sheet, console: Console, room: int) -> None:
    """Add the columns. Rich sets their widths, except of columns that must not be broken."""
    unbroken = _unbroken(sheet, console, room)
    for number, name in enumerate(sheet.header):
        table.add_column(
            Text(clean(name)),
            justify="left" if number < sheet.labels else "right",
            overflow="fold",
            width=unbroken.get(number),
        )


def _unbroken(sheet: Sheet, console: Console, room: int) -> dict[int, int]:
    """Fixed widths of the columns that must not be broken; rich folds the others.

    If there is room for everything, no width is fixed. With less room, first headings are broken
    between words, then names (those of defenses last). Numbers are broken only if less than
    `_LEAST` would be left for a name.
    """
    columns = range(len(sheet.header))
    cells = [
        max(_measured(row[number], console).maximum for row in sheet.rows) for number in columns
    ]
    names = [_measured(name, console) for name in sheet.header]
    if sum(max(name.maximum, cell) for name, cell in zip(names, cells, strict=True)) <= room:
        return {}
    least = [max(name.minimum, cell) for name, cell in zip(names, cells, strict=True)]
    numbers = [*columns[sheet.labels :]]
    last = [n for n in columns[: sheet.labels] if sheet.header[n] == _LAST_FOLDED]
    for kept in ([*columns], [*last, *numbers], numbers):
        if sum(least[number] for number in kept) + _LEAST * (len(columns) - len(kept)) <= room:
            return {number: least[number] for number in kept}
    return {}


def _measured(text: str, console: Console) -> Measurement:
    return Measurement.get(console, console.options, Text(clean(text)))


def _without_brackets(cell: str) -> str:
    """A cell without the lines in brackets: intervals and bounds would break over lines."""
    kept = [line for line in cell.split("\n") if not line.startswith("[")]
    return "\n".join(kept).replace(" ▲", "▲").replace(" ▼", "▼")


def _bold(title: str) -> Text:
    return Text(clean(title), style="bold")


def _coloured(cell: str) -> Text:
    text = Text(clean(cell))
    text.highlight_regex("▲", "bold green")
    text.highlight_regex("▼", "bold red")
    text.highlight_regex(r"(?s)\n.*", "dim")
    return text
