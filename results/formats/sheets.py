"""A table of text, and the same as Markdown and LaTeX.

Foreign text is escaped, so that it is shown literally.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from vlmguard.results.sanitize import clean

__all__ = [
    "Line",
    "Sheet",
    "escape_markdown",
    "latex",
    "latex_lines",
    "markdown",
    "markdown_lines",
]

Line = tuple[int | None, str]
"""A line of a table's text, with the number of the row that it shows; None if it shows none."""

_LATEX: Final = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "▲": r"$\blacktriangle$",
    "▼": r"$\blacktriangledown$",
    "≥": r"$\geq$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
}


_WIDEST: Final = 12
"""Columns of a Markdown table that can still be read."""


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

    @property
    def name(self) -> str:
        """The title as one word, for addresses and labels: `by-slice`."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


def markdown(sheet: Sheet) -> str:
    """A sheet as a Markdown section with a table.

    A sheet too wide to be read becomes a table for each of its spans, without the rows that are
    empty there.
    """
    return "\n".join(text for _, text in markdown_lines(sheet)).rstrip() + "\n"


def markdown_lines(sheet: Sheet) -> list[Line]:
    """The lines of `markdown`, each with the row that it shows; a page copies some of them."""
    apart = bool(sheet.spans) and len(sheet.header) > _WIDEST
    rows = list(enumerate(sheet.rows))
    tables = _table_of_each_span(sheet) if apart else _table(_spanned(sheet), rows, sheet)
    title = f"## {escape_markdown(sheet.title)}"
    notes = [f"- {escape_markdown(note)}" for note in sheet.notes]
    return [(None, title), (None, ""), *tables, *((None, line) for line in ["", *notes])]


def _spanned(sheet: Sheet) -> list[str]:
    """The headings of columns, each with that above it."""
    if not sheet.spans:
        return sheet.header
    above = [title for title, width in sheet.spans for _ in range(width)]
    return [
        f"{top}: {name}" if top else name for top, name in zip(above, sheet.header, strict=True)
    ]


def _table(header: list[str], rows: list[tuple[int, list[str]]], sheet: Sheet) -> list[Line]:
    align = ["---" if number < sheet.labels else "---:" for number in range(len(header))]
    above: list[Line] = [(None, _piped(map(escape_markdown, header))), (None, _piped(align))]
    return [*above, *((number, _piped(map(escape_markdown, row))) for number, row in rows)]


def _piped(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _table_of_each_span(sheet: Sheet) -> list[Line]:
    """The lines of a table for each span after that of the labels, which each repeats."""
    lines: list[Line] = []
    (_, labels), *others = sheet.spans
    start = labels
    for title, width in others:
        part = slice(start, start + width)
        start += width
        rows = [
            (number, [*row[:labels], *row[part]])
            for number, row in enumerate(sheet.rows)
            if any(row[part])
        ]
        header = [*sheet.header[:labels], *sheet.header[part]]
        lines += [(None, f"### {escape_markdown(title)}"), (None, "")]
        lines += [*_table(header, rows, sheet), (None, "")]
    return lines[:-1]


def escape_markdown(text: str) -> str:
    """Foreign text, escaped for Markdown; line breaks become `<br>`."""
    escaped = re.sub(r"([\\`*_\[\]|<>#~])", r"\\\1", clean(text))
    return escaped.replace("\r", " ").replace("\n", "<br>")


def latex(sheet: Sheet) -> str:
    """A sheet as a LaTeX table in the style of booktabs."""
    return "\n".join(text for _, text in latex_lines(sheet)) + "\n"


def latex_lines(sheet: Sheet) -> list[Line]:
    """The lines of `latex`, each with the row that it shows; a page copies some of them."""
    columns = "l" * sheet.labels + "r" * (len(sheet.header) - sheet.labels)
    lines = ["% needs booktabs and amssymb"]
    lines += [r"\begin{table}", r"\centering\small", rf"\caption{{{_latex(sheet.title)}}}"]
    lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    if sheet.spans:
        tops, rules, start = [], [], 1
        for title, width in sheet.spans:
            tops.append(rf"\multicolumn{{{width}}}{{c}}{{{_latex(title)}}}")
            if title:
                rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
            start += width
        lines += [" & ".join(tops) + r" \\", "".join(rules)]
    lines += [" & ".join(map(_latex, sheet.header)) + r" \\", r"\midrule"]
    found: list[Line] = [(None, line) for line in lines]
    for number, row in enumerate(sheet.rows):
        if number in sheet.starts and number:
            found.append((None, r"\addlinespace"))
        found.append((number, " & ".join(map(_stacked, row)) + r" \\"))
    ends = [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return [*found, *((None, line) for line in ends)]


def _stacked(cell: str) -> str:
    lines = [_latex(line) for line in cell.split("\n")]
    if len(lines) == 1:
        return lines[0]
    small = [rf"\scriptsize {line}" for line in lines[1:]]
    # With an empty group, LaTeX does not read "[" after a line break as an option.
    return r"\shortstack[r]{" + r" \\{} ".join([lines[0], *small]) + "}"


def _latex(text: str) -> str:
    escaped = "".join(_LATEX.get(letter, letter) for letter in clean(text))
    return re.sub(r"(?<!\w)-(?=\d)", "$-$", escaped)
