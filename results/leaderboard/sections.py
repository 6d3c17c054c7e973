"""The tables of the page: what each cell shows, and by which names a row is found."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.leaderboard.model import Group, Leaderboard
from vlmguard.results.leaderboard.red_team_cells import brief

__all__ = ["KINDS", "Block", "Names", "Section", "Shown", "sections"]

KINDS: Final = ("benchmark", "target", "defense", "attack")
"""What a page is filtered by."""

_TARGET: Final = "Target"
_COLUMNS: Final = {
    "target": (_TARGET,),
    "defense": ("Defense", "Best", "Against"),
    "benchmark": ("Benchmark", "Harm set", "Harmless requests"),
    "attack": ("Attack", "Worst static", "Worst adaptive", "Most refused under"),
}
"""Headings of the columns that hold a name of each kind."""


class Names:
    """The names that rows are filtered by, and which of them a text is about."""

    def __init__(self, board: Leaderboard) -> None:
        boards = [board, *([board.attacked] if board.attacked else [])]
        rows = [row for each in boards for row in each.rows()]
        self._titles: dict[str, str] = {}
        for group in (group for each in boards for group in each.groups):
            name = self.benchmark(group, board)
            self._titles |= {group.title: name, group.column.heading: name, name: name}
        attacks = [group.column.under for group in board.attacked.groups] if board.attacked else []
        # Several names may be of one title: published rows do not know the variant.
        self._published: dict[str, list[str]] = {}
        for group in board.groups:
            self._published.setdefault(group.column.title, []).append(group.title)
        self.of: dict[str, list[str]] = {
            "benchmark": list(dict.fromkeys(self._titles.values())),
            "target": list(dict.fromkeys(target for target, _ in rows)),
            "defense": list(dict.fromkeys(defense for _, defense in rows)),
            "attack": list(dict.fromkeys(attacks)),
        }

    @staticmethod
    def benchmark(group: Group, board: Leaderboard) -> str:
        """The name of a group without its attack: that of the group without one, if there is."""
        plain = replace(group.column, attack="")
        same = [each.title for each in board.groups if each.column == plain]
        return same[0] if same else plain.heading

    def about(self, kind: str, text: str) -> list[str]:
        """The names of a kind that a cell or a title holds."""
        if kind == "benchmark":
            if text in self._published:
                return self._published[text]
            held = [title for title in self._titles if title in text]
            # "Toy all (judge a)" is not about "Toy all".
            longest = [
                title
                for title in held
                if not any(title != other and title in other for other in held)
            ]
            return list(dict.fromkeys(self._titles[title] for title in longest))
        if kind == "attack":
            return [name for name in self.of[kind] if text in (name, brief(name))]
        same = [name for name in self.of[kind] if name == text]
        # Some tables name a defense without its options.
        return same or [name for name in self.of[kind] if text and name.startswith(f"{text} ")]


@dataclass(frozen=True)
class Shown:
    """A cell.

    Attributes:
        lines: Its lines, each with its kind: `better` and `worse` have a mark.
        column: Number of its column.
        text: Whether it is a name, and no number.
        place: 1 for the best of its column and block, 2 for the second, else 0.
        tip: More about what stands below the first line.
        group: The benchmark that its column is about, in tables of several.
        first: Whether its column is the first of a benchmark.
    """

    lines: list[tuple[str, str]]
    column: int
    text: bool
    place: int = 0
    tip: str = ""
    group: str = ""
    first: bool = False


@dataclass(frozen=True)
class Block:
    """Rows below a heading.

    Attributes:
        title: The heading; empty without one.
        rows: The rows with their numbers in the sheet.
    """

    title: str
    rows: list[tuple[int, list[Shown]]]


@dataclass
class Section:
    """A table of the page.

    Attributes:
        sheet: Its content.
        name: Its place in addresses.
        intro: Sentences above it.
        tips: More about a cell, by row and column.
        groups: The benchmark that each column is about; empty for none.
        below: What stands below the headings of benchmarks.
        tags: A word behind the name of a row.
        remarks: A sentence below the name of a row.
        opens: Whether its rows can be opened.
        folded: Whether it is long and has a scroll of its own.
    """

    sheet: Sheet
    name: str
    intro: list[str] = field(default_factory=list)
    tips: Mapping[tuple[int, int], str] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)
    below: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[int, str] = field(default_factory=dict)
    remarks: Mapping[int, str] = field(default_factory=dict)
    opens: bool = False
    folded: bool = False

    @property
    def apart(self) -> int:
        """1 if the targets stand above their rows, else 0."""
        return int(bool(self.sheet.starts) and self.sheet.header[0] == _TARGET)

    def group(self, column: int) -> str:
        """The benchmark that a column is about."""
        return self.groups[column] if self.groups else ""

    @property
    def heads(self) -> list[Shown]:
        """The headings of the columns."""
        return [self._cell(-1, column, name) for column, name in enumerate(self.sheet.header)][
            self.apart :
        ]

    @property
    def spans(self) -> list[tuple[str, int, str]]:
        """The headings above them, with the columns each spans and its benchmark."""
        found, start = [], 0
        for title, width in self.sheet.spans:
            if start >= self.sheet.labels:
                found.append((title, width, self.group(start)))
            start += width
        return found

    @property
    def blocks(self) -> list[Block]:
        """The rows: below their target, if they are in blocks."""
        rows = [
            (number, [self._cell(number, column, text) for column, text in enumerate(row)])
            for number, row in enumerate(self.sheet.rows)
        ]
        if not self.apart:
            return [Block("", rows)]
        ends = [*sorted({0, *self.sheet.starts}), len(rows)]
        return [
            Block(self.sheet.rows[start][0], [(n, cells[1:]) for n, cells in rows[start:end]])
            for start, end in pairwise(ends)
        ]

    def about(self, names: Names) -> list[dict[str, list[str]]]:
        """The names by which each row is found; a kind without any is not about the row."""
        whole = {
            "benchmark": [] if self.groups else names.about("benchmark", self.sheet.title),
            "attack": [each for each in names.of["attack"] if f"under {each}" in self.sheet.title],
        }
        return [
            {kind: found for kind in KINDS if (found := self._names(kind, row, names, whole))}
            for row in self.sheet.rows
        ]

    def _names(
        self, kind: str, row: list[str], names: Names, whole: Mapping[str, list[str]]
    ) -> list[str]:
        cells = [
            cell.split("\n")[0]
            for heading, cell in zip(self.sheet.header, row, strict=True)
            if heading in _COLUMNS[kind]
        ]
        found = [name for cell in cells for name in names.about(kind, cell)]
        return list(dict.fromkeys(found)) or whole.get(kind, [])

    def _cell(self, row: int, column: int, text: str) -> Shown:
        place = (row, column)
        group = self.group(column)
        return Shown(
            lines=[(line, _kind(line)) for line in text.split("\n")],
            column=column,
            text=column < self.sheet.labels,
            place=1 if place in self.sheet.best else 2 if place in self.sheet.second else 0,
            tip=self.tips.get(place, ""),
            group=group,
            first=bool(group) and group != self.group(column - 1),
        )


def sections(sheets: Iterable[Sheet], taken: set[str]) -> list[Section]:
    """A section for each sheet that has rows.

    Args:
        sheets: The sheets.
        taken: Names that are taken; those of the sections are added.
    """
    found = []
    for sheet in sheets:
        if sheet.rows:
            name = re.sub(r"^(?=\d)|^$", "table-", sheet.name)
            several = 2
            while name in taken:
                name, several = f"{sheet.name}-{several}", several + 1
            taken.add(name)
            found.append(Section(sheet, name))
    return found


def _kind(line: str) -> str:
    return "better" if line.endswith("▲") else "worse" if line.endswith("▼") else ""
