"""A table of text, as a leaderboard makes it: formats turn it into files and pages."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

__all__ = ["MARKS", "Line", "Sheet", "brief", "part_of"]

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


def part_of(
    sheet: Sheet, columns: Sequence[int] | None = None, rows: Sequence[int] | None = None
) -> Sheet:
    """A sheet with some of its columns and rows, in their order.

    Args:
        sheet: A table.
        columns: Numbers of columns, ascending; all by default.
        rows: Numbers of rows, ascending; by default those that are not blank in these columns.
    """
    columns = range(len(sheet.header)) if columns is None else columns
    labels = sum(column < sheet.labels for column in columns)
    if rows is None:
        rows = [
            number
            for number, row in enumerate(sheet.rows)
            if any(row[column] for column in columns[labels:])
        ]
    places = {column: place for place, column in enumerate(columns)}
    lines = {number: line for line, number in enumerate(rows)}

    def moved(cells: set[tuple[int, int]]) -> set[tuple[int, int]]:
        return {
            (lines[row], places[column])
            for row, column in cells
            if row in lines and column in places
        }

    return replace(
        sheet,
        header=[sheet.header[column] for column in columns],
        rows=[[sheet.rows[number][column] for column in columns] for number in rows],
        spans=_moved_spans(sheet, places),
        labels=labels,
        starts=_moved_starts(sheet, lines),
        best=moved(sheet.best),
        second=moved(sheet.second),
    )


def _moved_spans(sheet: Sheet, places: dict[int, int]) -> list[tuple[str, int]]:
    """The spans that hold any of some columns, as wide as these are."""
    spans, start = [], 0
    for title, width in sheet.spans:
        held = sum(column in places for column in range(start, start + width))
        start += width
        if held:
            spans.append((title, held))
    return spans


def _moved_starts(sheet: Sheet, lines: dict[int, int]) -> set[int]:
    """The first row that was kept of each block."""
    starts = set()
    for low, high in pairwise([*sorted(sheet.starts), len(sheet.rows)]):
        kept = [lines[number] for number in range(low, high) if number in lines]
        starts |= set(kept[:1])
    return starts
