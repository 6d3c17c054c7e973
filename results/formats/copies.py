"""A sheet's lines in three formats, of which a page copies some, in the order that it shows."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from vlmguard.results.formats.latex import latex_lines
from vlmguard.results.formats.markdown import markdown_lines
from vlmguard.results.formats.sheets import Line, Sheet
from vlmguard.results.formats.spreadsheet import csv_text

__all__ = ["copies", "csv_lines"]

_NUMBER: Final = re.compile(r"[+-]?\d+(,\d{3})*(\.\d+)?")
_MARKED: Final = re.compile(r"(\S+) ([▲▼])")


def copies(sheet: Sheet, typeset: Sheet, footnotes: Sequence[str] = ()) -> dict[str, list[Line]]:
    """The lines of a sheet by format (`markdown`, `latex`, `csv`), each with the row it shows.

    Args:
        sheet: The sheet.
        typeset: The same as a paper prints it, with the same rows.
        footnotes: What the raised numbers behind names stand for.
    """
    return {
        "markdown": markdown_lines(sheet),
        "latex": latex_lines(typeset, footnotes),
        "csv": csv_lines(sheet),
    }


def csv_lines(sheet: Sheet) -> list[Line]:
    """A sheet as CSV with numbers that programs read as numbers.

    What stands below a number in its cell (difference, interval), and a mark beside it, are columns
    of their own after that of the number. The sheet has rows.
    """
    parts = [[_parts(cell) for cell in row[sheet.labels :]] for row in sheet.rows]
    widths = [max(map(len, column)) for column in zip(*parts, strict=True)]
    header = [name.replace("\n", ": ") for name in sheet.header[: sheet.labels]]
    for name, width in zip(_headings(sheet), widths, strict=True):
        header += [f"{name}{more}" for more in ("", ": below", ": mark")[:width]]
    rows: list[list[Any]] = []
    for row, cells in zip(sheet.rows, parts, strict=True):
        line: list[Any] = [each.replace("\n", "; ") for each in row[: sheet.labels]]
        for cell, width in zip(cells, widths, strict=True):
            line += [_plain(text) for text in [*cell, "", ""][:width]]
        rows.append(line)
    # Above its rows, csv_text writes names that are no one's; these are foreign.
    _, first, *texts = csv_text([], [header, *rows]).rstrip("\n").split("\n")
    return [(None, first), *enumerate(texts)]


def _parts(cell: str) -> list[str]:
    """A cell's number, what stands below it, and its mark; the last of them only if it is there."""
    first, *below = cell.split("\n")
    marked = _MARKED.fullmatch(first)
    if marked:
        return [marked[1], "; ".join(below), marked[2]]
    return [first, "; ".join(below)] if below else [first]


def _headings(sheet: Sheet) -> list[str]:
    """The headings of the columns behind the labels, each with that above it."""
    names = [name.replace("\n", ": ") for name in sheet.header]
    above = [title for title, width in sheet.spans for _ in range(width)]
    if above:
        names = [f"{top}: {name}" if top else name for top, name in zip(above, names, strict=True)]
    return names[sheet.labels :]


def _plain(text: str) -> Any:
    """A number as such, which no spreadsheet takes for a formula; nothing for what is not known."""
    if text == "-":
        return None
    return Decimal(text.replace(",", "")) if _NUMBER.fullmatch(text) else text
