"""A table of text, as a leaderboard makes it: formats turn it into files and pages."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

__all__ = ["MARKS", "Line", "Sheet", "brief", "columns_of", "parts_of"]

Line = tuple[int | None, str]
"""A line of a table's text, with the number of the row that it shows; None if it shows none."""

MARKS: Final = "▲▼"
"""Signs of a cell whose difference to the undefended target was tested, better and worse."""
_UNCERTAIN: Final = re.compile(r"[+-][\d.,]+( [▲▼])?$|\[.*\]$|\d+ (image|pair)s?$")


@dataclass
class Sheet:
    """A table of text.

    Attributes:
        title: Heading.
        spans: Headings above the columns with the number of columns each spans, the first above
            the labels; empty for a single line of headings.
        header: Column headings.
        rows: Cells; a cell of several lines holds newlines.
        notes: Remarks below.
        labels: Number of leading columns that hold text.
        starts: Rows that begin a new block.
        compact: Whether a terminal shows its intervals only where the whole table fits.
        best: Row and column of the cells with the best value of their column, within their block.
        second: The same of the second best.
        caption: What a paper's caption says behind the title: judge, number of answers, test.
    """

    title: str
    header: list[str]
    rows: list[list[str]]
    spans: list[tuple[str, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    labels: int = 2
    starts: set[int] = field(default_factory=set)
    compact: bool = False
    best: set[tuple[int, int]] = field(default_factory=set)
    second: set[tuple[int, int]] = field(default_factory=set)
    caption: str = ""

    @property
    def name(self) -> str:
        """The title as one word, for addresses and labels: `by-slice`."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


def brief(cell: str) -> list[str]:
    """The lines of a cell without those that say how certain its first one is.

    Args:
        cell: A mean, and below it perhaps a difference, an interval, numbers of images or pairs,
            and remarks.

    Returns:
        The first line, with the mark of the difference if there is one, and the remarks.
    """
    first, *rest = cell.split("\n")
    marks = "".join(sign for line in rest for sign in line if sign in MARKS)
    value = f"{first} {marks}" if marks else first
    return [value, *(line for line in rest if not _UNCERTAIN.match(line))]


def columns_of(sheet: Sheet, columns: Sequence[int]) -> Sheet:
    """A sheet with some of its columns, in their order; rows that are blank there are left out.

    Args:
        sheet: A table.
        columns: Numbers of columns, ascending; all that hold labels stay labels.
    """
    labels = sum(column < sheet.labels for column in columns)
    kept = [
        number
        for number, row in enumerate(sheet.rows)
        if any(row[column] for column in columns[labels:])
    ]
    places = {column: place for place, column in enumerate(columns)}
    lines = {number: line for line, number in enumerate(kept)}

    def moved(cells: set[tuple[int, int]]) -> set[tuple[int, int]]:
        return {
            (lines[row], places[column])
            for row, column in cells
            if row in lines and column in places
        }

    above = [title for title, width in sheet.spans for _ in range(width)]
    spans: list[tuple[str, int]] = []
    for column in columns if sheet.spans else []:
        # Neighbours under one heading stay under it; the labels' heading is always the first.
        if spans and spans[-1][0] == above[column] and (len(spans) > 1 or places[column] < labels):
            spans[-1] = (above[column], spans[-1][1] + 1)
        else:
            spans.append((above[column], 1))
    return replace(
        sheet,
        header=[sheet.header[column] for column in columns],
        rows=[[sheet.rows[number][column] for column in columns] for number in kept],
        spans=spans,
        labels=labels,
        starts=_moved_starts(sheet, kept),
        best=moved(sheet.best),
        second=moved(sheet.second),
    )


def parts_of(sheet: Sheet) -> list[Sheet]:
    """A sheet for each of the spans behind that of the labels, named by it; else the sheet."""
    if not sheet.spans:
        return [sheet]
    (_, start), *others = sheet.spans
    parts = []
    for title, width in others:
        part = columns_of(sheet, [*range(sheet.labels), *range(start, start + width)])
        start += width
        parts.append(replace(part, title=title, spans=[], notes=[]))
    return parts


def _moved_starts(sheet: Sheet, kept: list[int]) -> set[int]:
    """The first row that was kept of each block."""
    if not sheet.starts:
        return set()
    starts = set()
    for low, high in pairwise([*sorted(sheet.starts), len(sheet.rows)]):
        lines = [line for line, number in enumerate(kept) if low <= number < high]
        starts |= set(lines[:1])
    return starts
