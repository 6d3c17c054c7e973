"""How wide LaTeX tables become, and what of a sheet goes onto one page.

Widths are estimates in points, of text of the size small in the fonts that papers use.
"""

import re
import textwrap
from dataclasses import replace
from itertools import pairwise
from typing import Final

from vlmguard.results.formats.latex_cells import cell_lines, wrapped
from vlmguard.results.formats.latex_text import text_width
from vlmguard.results.formats.sheets import Sheet, part_of

__all__ = ["COLUMN", "PAGE", "column_widths", "heading_lines", "pages_of", "width_of"]

COLUMN: Final = 219.0
"""Points of a column of a paper with two, those of ACL: others are wider."""
PAGE: Final = 455.0
"""Points of both."""
_LETTER: Final = 4.9
_GAP: Final = 8.0
_SMALLEST: Final = 0.7
"""A table that would have to shrink by more is divided."""
_LINES: Final = 48
"""Lines of a table on one page."""


def column_widths(sheet: Sheet, intervals: bool) -> list[float]:
    """The widths of the columns in letters: of the cells, and of the words in the headings."""
    widths = []
    for column, name in enumerate(sheet.header):
        words = [text_width(word) for word in name.split()]
        cells = [
            text_width(line.text)
            for row in sheet.rows
            for line in cell_lines(row[column], column < sheet.labels, intervals)
        ]
        widths.append(max([0.0, *words, *cells]))
    return widths


def heading_lines(name: str, width: float) -> list[str]:
    """A heading in lines that are no wider than its column, if its words allow it."""
    room = max(int(width) + 1, 8)
    # A unit stays with its arrow.
    whole = re.sub(r" (?=[↑↓])", "\N{NO-BREAK SPACE}", name)
    return [
        line
        for part in whole.split("\n")
        for line in textwrap.wrap(part, room, break_long_words=False, break_on_hyphens=False)
    ] or [""]


def width_of(sheet: Sheet, intervals: bool) -> float:
    """About how many points a table is wide, without the column that names its blocks."""
    widths = [
        max(width, *(text_width(line) for line in heading_lines(name, width)))
        for name, width in zip(sheet.header, column_widths(sheet, intervals), strict=True)
    ]
    skip = 1 if sheet.starts else 0
    gaps = _GAP / _LETTER
    total = sum(width + gaps for width in widths[skip:])
    start = 0
    for title, held in sheet.spans:
        under = sum(width + gaps for width in widths[start : start + held])
        total += max(0.0, text_width(title) + gaps - under)
        start += held
    blocks = [text_width(line) for start in sheet.starts for line in wrapped(sheet.rows[start][0])]
    return max([total, *blocks]) * _LETTER


def pages_of(sheet: Sheet, intervals: bool) -> list[Sheet]:
    """Parts of a sheet that fit a page each: by benchmark if it is too wide, by block if too long.

    Args:
        sheet: A table.
        intervals: Whether differences and intervals stand below the means.
    """
    return [part for each in _narrow(sheet, intervals) for part in _short(each, intervals)]


def _narrow(sheet: Sheet, intervals: bool) -> list[Sheet]:
    """Parts that fit the width of a page, with whole spans; each repeats the labels."""
    total = width_of(sheet, intervals)
    if total <= (PAGE if sheet.spans else PAGE / _SMALLEST):
        return [sheet]
    units, start = [], sheet.labels
    for width in [each for _, each in sheet.spans[1:]] or [1] * (len(sheet.header) - start):
        units.append([*range(start, start + width)])
        start += width
    labels = [*range(sheet.labels)]
    chosen: list[list[int]] = []
    for unit in units:
        if chosen and width_of(part_of(sheet, [*labels, *chosen[-1], *unit]), intervals) <= PAGE:
            chosen[-1] += unit
        else:
            chosen.append([*unit])
    found = [part_of(sheet, [*labels, *columns]) for columns in chosen]
    if not sheet.spans:
        return _numbered([part for part in found if part.rows] or [sheet])
    return [
        replace(part, title=f"{sheet.title}: {', '.join(title for title, _ in part.spans[1:])}")
        for part in found
    ]


def _short(sheet: Sheet, intervals: bool) -> list[Sheet]:
    """Parts with as many rows as a page has lines for, divided between blocks where it has any."""
    lines = [
        max(
            len(cell_lines(cell, column < sheet.labels, intervals))
            for column, cell in enumerate(row)
        )
        for row in sheet.rows
    ]
    if sum(lines) <= _LINES:
        return [sheet]
    cuts, used = [0], 0
    for number, need in enumerate(lines):
        if used + need > _LINES:
            block = max((start for start in sheet.starts if start <= number), default=number)
            cuts.append(block if block > cuts[-1] else number)
            used = sum(lines[cuts[-1] : number])
        used += need
    return _numbered(
        [part_of(sheet, rows=range(low, high)) for low, high in pairwise([*cuts, len(lines)])]
    )


def _numbered(parts: list[Sheet]) -> list[Sheet]:
    if len(parts) == 1:
        return parts
    return [
        replace(part, title=f"{part.title} (part {number} of {len(parts)})")
        for number, part in enumerate(parts, 1)
    ]
