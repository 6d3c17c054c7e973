"""Sheets as tables of a terminal, as wide as it is.

Names of models and texts of logs are foreign: they are never read as markup.
"""

from collections.abc import Iterable
from dataclasses import replace
from itertools import accumulate, zip_longest
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from vlmguard.results.formats.blocks import wrapped
from vlmguard.results.formats.fitting import GAP, Part, folded, in_parts, whole, without_brackets
from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.sanitize import clean

__all__ = ["WIDE", "print_sheets"]

WIDE: Final = 110
"""Columns of a terminal that has room for names of targets beside numbers."""
_ROOMY: Final = 130
"""With fewer columns, no row of a compact table takes a second line for its intervals."""
_NO_INTERVALS: Final = "Intervals need a wider terminal, or --out."


def print_sheets(sheets: list[Sheet], console: Console) -> None:
    """Print sheets as tables; a note that several have stands below the first of them.

    Args:
        sheets: What to print; empty ones are skipped.
        console: Where to.
    """
    said: set[str] = set()
    for sheet in sheets:
        if not sheet.rows:
            continue
        lines, notes = _table(_cleaned(sheet), console.width)
        console.print(Text("\n").join(lines))
        for note in [*sheet.notes, *notes]:
            if note not in said:
                text = wrapped(clean(note), console.width, 2)
                console.print(Text(text, style="dim"))
            said.add(note)
        console.print()


def _table(sheet: Sheet, width: int) -> tuple[list[Text], list[str]]:
    """The lines of a table, and what a note must say of them."""
    # A line above its rows has more room for the first name than a column of its own.
    sections = 1 if sheet.starts and sheet.labels > 1 else 0
    bare = replace(sheet, rows=[[without_brackets(cell) for cell in row] for row in sheet.rows])
    notes = [_NO_INTERVALS] if bare.rows != sheet.rows else []
    tries = [(sheet, 0, False), (sheet, sections, False)]
    if sheet.compact:
        # Its rows take one line each where the terminal is not wide.
        tries = [(sheet, 0, False)] if width >= _ROOMY else [(bare, 0, False)]
    for shown, skip, pieces in (*tries, (bare, sections, False), (bare, sections, True)):
        if parts := whole(shown, width, skip, pieces):
            return _in_parts(shown, parts, width, skip), notes if shown is bare else []
    if parts := in_parts(bare, width, sections):
        return _in_parts(bare, parts, width, sections), notes
    return _records(sheet, width), []


def _in_parts(sheet: Sheet, parts: list[Part], width: int, sections: int) -> list[Text]:
    names = list(dict.fromkeys(row[0] for row in sheet.rows))
    # One name for all rows needs no line of its own.
    alone = sections and len(names) == 1
    lines = _title(f"{sheet.title}: {names[0]}" if alone else sheet.title, width)
    for number, part in enumerate(parts):
        lines += [Text("")] if number else []
        lines += _drawn(sheet, part, named=bool(sections) and not alone, sections=bool(sections))
    return lines


def _drawn(sheet: Sheet, part: Part, named: bool = False, sections: bool = False) -> list[Text]:
    """The lines of some columns of a table.

    Args:
        sheet: The table.
        part: Its columns and their widths.
        named: Whether the first cell of a block's rows stands above them.
        sections: Whether the first column is not among the columns.
    """
    lines = [Text(line, style="bold") for line in _spans(sheet, part)]
    headings = [
        folded(sheet.header[each], width)
        for each, width in zip(part.columns, part.widths, strict=True)
    ]
    deep = max(map(len, headings))
    # Headings stand on the rule below them.
    above = [[*[""] * (deep - len(each)), *each] for each in headings]
    lines += [
        _side_by_side(sheet, part, [(each, "") for each in row]) for row in zip(*above, strict=True)
    ]
    lines.append(Text("─" * (sum(part.widths) + GAP * (len(part.widths) - 1)), style="dim"))
    for number, row in enumerate(sheet.rows):
        if not any(row[each] for each in part.columns if each >= sheet.labels) and any(
            each >= sheet.labels for each in part.columns
        ):
            continue
        first = number in sheet.starts
        if first and named:
            lines.append(Text(row[0], style="bold"))
        elif first and number and not sections:
            lines.append(Text(""))
        # Within a block the first name stands once.
        repeated = bool(sheet.starts) and not first and not sections
        shown = ["" if repeated and each == 0 else row[each] for each in part.columns]
        cells = [folded(cell, width) for cell, width in zip(shown, part.widths, strict=True)]
        for place, line in enumerate(zip_longest(*cells, fillvalue="")):
            styles = [_style(sheet, number, each, place) for each in part.columns]
            lines.append(_side_by_side(sheet, part, zip(line, styles, strict=True)))
    return lines


def _style(sheet: Sheet, row: int, column: int, line: int) -> str:
    if column < sheet.labels:
        return ""
    if line:
        return "dim"
    if (row, column) in sheet.best:
        return "bold"
    return "underline" if (row, column) in sheet.second else ""


def _spans(sheet: Sheet, part: Part) -> list[str]:
    """The lines of the headings above columns, each as wide as its columns."""
    if not any(title for title, _ in sheet.spans):
        return []
    ends = accumulate(width for _, width in sheet.spans)
    of = {
        column: place
        for place, (end, (_, width)) in enumerate(zip(ends, sheet.spans, strict=True))
        for column in range(end - width, end)
    }
    widths: dict[int, int] = {}
    single: dict[int, bool] = {}
    for column, width in zip(part.columns, part.widths, strict=True):
        place = of[column]
        single[place] = place not in widths and column >= sheet.labels
        widths[place] = widths[place] + GAP + width if place in widths else width
    cells = [folded(sheet.spans[place][0], width) for place, width in widths.items()]
    return [
        (" " * GAP)
        .join(
            _padded(cell, width, left=not alone)
            for cell, width, alone in zip(line, widths.values(), single.values(), strict=True)
        )
        .rstrip()
        for line in zip_longest(*cells, fillvalue="")
    ]


def _side_by_side(sheet: Sheet, part: Part, cells: Iterable[tuple[str, str]]) -> Text:
    line = Text()
    for column, width, (cell, style) in zip(part.columns, part.widths, cells, strict=True):
        line.append(" " * GAP if line else "")
        blanks = " " * (width - cell_len(cell))
        names = column < sheet.labels
        # Blanks have no style: a line below them would look like a part of the number.
        line.append("" if names else blanks).append(cell, style).append(blanks if names else "")
    line.rstrip()
    line.highlight_regex("▲", "bold green")
    line.highlight_regex("▼", "bold red")
    return line


def _padded(text: str, width: int, left: bool) -> str:
    blanks = " " * (width - cell_len(text))
    return text + blanks if left else blanks + text


def _records(sheet: Sheet, width: int) -> list[Text]:
    """A table of texts without room for its columns: for each row a line for each of its cells."""
    lines = _title(sheet.title, width)
    for row in sheet.rows:
        lines.append(Text(wrapped(row[0], width, 2)))
        lines += [
            Text(wrapped(f"{name}: {cell}", width, 4))
            for name, cell in zip(sheet.header[1:], row[1:], strict=True)
            if cell
        ]
    return lines


def _title(title: str, width: int) -> list[Text]:
    return [Text(line, style="bold") for line in folded(title, width)] + [Text("")]


def _cleaned(sheet: Sheet) -> Sheet:
    return replace(
        sheet,
        title=clean(sheet.title).replace("\n", " "),
        header=[clean(each) for each in sheet.header],
        rows=[[clean(cell) for cell in row] for row in sheet.rows],
        spans=[(clean(title), width) for title, width in sheet.spans],
    )
