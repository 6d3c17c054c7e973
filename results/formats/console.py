"""Sheets as tables of a terminal, as wide as it is.

Names of models and texts of logs are foreign: nothing of them is taken for markup.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Literal

from rich.box import SIMPLE
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.sanitize import clean

# Narrower terminals break numbers over lines rather than cut names off.
_WIDE: Final = 110
_LAST_FOLDED: Final = "Defense"


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
    if console.width >= _WIDE:
        return Group(_wide_table(sheet, console.width), *notes, Text(""))
    if not sheet.starts:
        table = _narrow_table(sheet.title, sheet.header, sheet.rows, sheet.labels, console.width)
        return Group(table, *notes, Text(""))
    # No room for a column of targets: a table for each, without intervals.
    blocks = [sheet.rows[a:b] for a, b in pairwise([*sorted(sheet.starts), len(sheet.rows)])]
    tables = [
        _narrow_table(
            f"{sheet.title}: {rows[0][0]}",
            sheet.header[1:],
            [[_without_brackets(cell) for cell in row[1:]] for row in rows],
            sheet.labels - 1,
            console.width,
        )
        for rows in blocks
    ]
    notes.append(Text(f"  Intervals need {_WIDE} columns, or --out.", style="dim"))
    return Group(*tables, *notes, Text(""))


def _wide_table(sheet: Sheet, room: int) -> Table:
    table = Table(title=_bold(sheet.title), title_justify="left", box=SIMPLE)
    # Each column has a blank at either side, and a separator.
    widths = _wide_widths(sheet, room - 3 * len(sheet.header) - 1)
    for number, name in enumerate(sheet.header):
        left = number < sheet.labels
        table.add_column(
            Text(clean(name)),
            justify="left" if left else "right",
            overflow="fold",
            width=widths[number],
        )
    for number, row in enumerate(sheet.rows):
        if number in sheet.starts and number:
            table.add_section()
        # Within a block the target is named once.
        repeated = bool(sheet.starts) and number not in sheet.starts
        table.add_row(*(_coloured(cell) for cell in ["" if repeated else row[0], *row[1:]]))
    return table


def _narrow_table(
    title: str, header: list[str], rows: list[list[str]], labels: int, room: int
) -> Table:
    table = Table(
        title=_bold(title),
        title_justify="left",
        box=SIMPLE,
        padding=0,
        pad_edge=False,
        show_edge=False,
    )
    names = [name.replace("Over-", "Over- ") for name in header]
    for number, width in enumerate(_widths(names, rows, labels, room - len(names) + 1)):
        justify: Literal["left", "right"] = "left" if number < labels else "right"
        table.add_column(Text(clean(names[number])), justify=justify, overflow="fold", width=width)
    for row in rows:
        table.add_row(*(_coloured(cell) for cell in row))
    return table


def _widths(header: list[str], rows: list[list[str]], labels: int, room: int) -> list[int]:
    """Widths that break no number as long as names can give way."""
    widths = [
        max(
            *(len(word) for word in name.split()),
            *(len(line) for row in rows for line in row[number].split("\n")),
        )
        for number, name in enumerate(header)
    ]
    for columns, least in ((range(labels), 8), (range(labels, len(header)), 4), (range(labels), 4)):
        _narrow(widths, columns, least, room)
    return widths


def _wide_widths(sheet: Sheet, room: int) -> list[int]:
    """Widths on one line; without room headings are broken, then names, defenses last."""
    widths = [
        max(len(line) for row in [sheet.header, *sheet.rows] for line in row[number].split("\n"))
        for number in range(len(sheet.header))
    ]
    for number in range(sheet.labels, len(sheet.header)):
        if sum(widths) > room:
            lines = [line for row in sheet.rows for line in row[number].split("\n")]
            widths[number] = max(map(len, [*sheet.header[number].split(), *lines]))
    others = [n for n, name in enumerate(sheet.header[: sheet.labels]) if name != _LAST_FOLDED]
    for columns in (others, range(sheet.labels)):
        _narrow(widths, columns, 8, room)
    return widths


def _narrow(widths: list[int], columns: Sequence[int], least: int, room: int) -> None:
    """Take from the widest of some columns until all have room, or each has its least."""
    while columns and sum(widths) > room:
        widest = max(columns, key=lambda number: widths[number])
        if widths[widest] <= least:
            break
        widths[widest] -= 1


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
