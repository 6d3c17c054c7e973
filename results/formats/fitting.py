"""How a table is fitted into the columns of a terminal.

Numbers are never broken, names between their words first, and a table that has no room beside its
names is shown in several parts, each with the names.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from rich.cells import cell_len, set_cell_size

from vlmguard.results.formats.sheets import Sheet

__all__ = ["GAP", "Part", "folded", "in_parts", "whole", "without_brackets"]

GAP: Final = 2
"""Blanks between two columns."""
_WORD: Final = 16
"""Letters of a word that is not broken if there is any room for it."""
_SENTENCE: Final = 26
"""The same of what stands in the place of a number."""
_PIECE: Final = 10
"""The same of a piece of a name (`mllm_` of `mllm_protector`), where room is short."""
_LEAST: Final = 4
_PIECES: Final = re.compile(r"[^/_\-:,=]+[/_\-:,=]*|[/_\-:,=]+")


@dataclass(frozen=True)
class Part:
    """Columns of a table that stand side by side.

    Attributes:
        columns: Their numbers in the sheet.
        widths: Their widths in the terminal.
    """

    columns: list[int]
    widths: list[int]


def whole(sheet: Sheet, room: int, skip: int = 0, pieces: bool = False) -> list[Part]:
    """A table in one part; none if it has no room.

    Args:
        sheet: The table.
        room: Columns of the terminal.
        skip: Number of first columns that are not shown.
        pieces: Whether names may be broken within words.
    """
    columns = [*range(skip, len(sheet.header))]
    widths = _widths(sheet, columns, room, _pieces if pieces else _words)
    return [Part(columns, widths)] if widths else []


def in_parts(sheet: Sheet, room: int, skip: int = 0) -> list[Part]:
    """A table in several parts, with the names in each; none if it has text alone.

    Args:
        sheet: The table.
        room: Columns of the terminal.
        skip: Number of first columns that are not shown.
    """
    labels = [*range(skip, sheet.labels)]
    parts: list[Part] = []
    taken: list[int] = []
    for unit in _units(sheet, room, labels):
        if taken and not _widths(sheet, [*labels, *taken, *unit], room, _words):
            parts.append(_part(sheet, [*labels, *taken], room))
            taken = []
        taken += unit
    return [*parts, _part(sheet, [*labels, *taken], room)] if taken else []


def folded(text: str, width: int) -> list[str]:
    """Text in lines of a width: broken between words, else between pieces of names."""
    lines: list[str] = []
    for line in text.split("\n"):
        current = ""
        for word in line.split(" "):
            joined = f"{current} {word}" if current else word
            if cell_len(joined) <= width:
                current = joined
                continue
            lines += [current] if current else []
            *full, current = _broken(word, width)
            lines += full
        lines.append(current)
    return lines


def without_brackets(cell: str) -> str:
    """A cell without the lines in brackets: intervals and bounds."""
    return "\n".join(line for line in cell.split("\n") if not line.startswith("["))


def _part(sheet: Sheet, columns: list[int], room: int) -> Part:
    widths = _widths(sheet, columns, room, _words) or _widths(sheet, columns, room, _pieces)
    if widths:
        return Part(columns, widths)
    # Last of all numbers are broken, too: the terminal is very narrow.
    each = max((room - GAP * (len(columns) - 1)) // len(columns), 1)
    return Part(columns, [each] * len(columns))


def _units(sheet: Sheet, room: int, labels: list[int]) -> list[list[int]]:
    """Columns that belong together: those below one heading if they have room, else each."""
    first = [*range(sheet.labels, len(sheet.header))]
    if not sheet.spans:
        return [[each] for each in first]
    units: list[list[int]] = []
    for end, (_, width) in zip(accumulate(w for _, w in sheet.spans), sheet.spans, strict=True):
        unit = [each for each in range(end - width, end) if each in first]
        fits = _widths(sheet, [*labels, *unit], room, _pieces)
        units += [unit] if fits else [[each] for each in unit]
    return [unit for unit in units if unit]


def _widths(sheet: Sheet, columns: list[int], room: int, breaks: Callable[[str], int]) -> list[int]:
    """Widths of columns; empty if they have no room side by side."""
    least: list[int] = []
    most: list[int] = []
    for column in columns:
        heading, cells = sheet.header[column], [row[column] for row in sheet.rows]
        names = column < sheet.labels
        of_cells = [breaks(each) if names else _unbroken(each) for each in cells]
        # A heading breaks between words alone.
        least.append(max([_LEAST, _longest(heading.split()), *of_cells]))
        most.append(max([least[-1], *(_longest(each.split("\n")) for each in [heading, *cells])]))
    for title, of in _below(sheet, columns):
        # The last column of several makes room for the longest word above them.
        across = sum(least[each] + GAP for each in of) - GAP
        least[of[-1]] += max(_longest(title.split()) - across, 0)
        most[of[-1]] = max(most[of[-1]], least[of[-1]] + min(cell_len(title), _SENTENCE) - across)
    slack = room - sum(least) - GAP * (len(columns) - 1)
    if slack < 0:
        return []
    widths = dict(zip(columns, least, strict=True))
    wanted = dict(zip(columns, most, strict=True))
    # Names first: a heading in two lines is read more easily than a name in two.
    for some in (lambda each: each < sheet.labels, lambda each: each >= sheet.labels):
        order = sorted(filter(some, columns), key=lambda each: wanted[each] - widths[each])
        for number, column in enumerate(order):
            given = min(wanted[column] - widths[column], slack // (len(order) - number))
            widths[column] += given
            slack -= given
    return [widths[each] for each in columns]


def _below(sheet: Sheet, columns: list[int]) -> list[tuple[str, list[int]]]:
    """The headings above columns, each with the places of those below it."""
    found: list[tuple[str, list[int]]] = []
    ends = accumulate(width for _, width in sheet.spans)
    for end, (title, width) in zip(ends, sheet.spans, strict=True):
        of = [place for place, each in enumerate(columns) if end - width <= each < end]
        found += [(title, of)] if of else []
    return found


def _unbroken(cell: str) -> int:
    """The width of a number, which is never broken; of a sentence that of its words."""
    lines = cell.split("\n")
    return max(cell_len(each) if cell_len(each) <= _SENTENCE else _words(each) for each in lines)


def _words(text: str) -> int:
    return min(_longest(text.split()), _WORD)


def _pieces(text: str) -> int:
    return min(_longest(_PIECES.findall(" ".join(text.split()))), _PIECE)


def _longest(texts: Sequence[str]) -> int:
    return max(map(cell_len, texts), default=0)


def _broken(word: str, width: int) -> list[str]:
    """A long word in lines: between the pieces of a name, and within one if it must be."""
    lines = [""]
    for piece in _PIECES.findall(word):
        rest = piece
        if lines[-1] and cell_len(lines[-1] + rest) > width:
            lines.append("")
        while cell_len(rest) > width:
            start = set_cell_size(rest, width).rstrip(" ") or rest[:1]
            lines[-1] += start
            lines.append("")
            rest = rest[len(start) :]
        lines[-1] += rest
    return lines
