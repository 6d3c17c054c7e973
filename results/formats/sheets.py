"""A table of text, and the same as Markdown and LaTeX.

Foreign text is escaped, so that it is shown literally.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from vlmguard.results.sanitize import clean

__all__ = ["Sheet", "escape_markdown", "latex", "markdown"]

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


@dataclass
class Sheet:
    """A table of text.

    Attributes:
        title: Heading.
        spans: Headings above the columns with the number of columns each spans;
            empty for a single line of headings.
        header: Column headings.
        rows: Cells; a cell of several lines holds newlines.
        notes: Remarks below.
        labels: Number of leading columns that hold text.
        starts: Rows that begin a new block.
    """

    title: str
    header: list[str]
    rows: list[list[str]]
    spans: list[tuple[str, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    labels: int = 2
    starts: set[int] = field(default_factory=set)


def markdown(sheet: Sheet) -> str:
    """A sheet as a Markdown section with a table."""
    header = sheet.header
    if sheet.spans:
        above = [title for title, width in sheet.spans for _ in range(width)]
        header = [
            f"{top}: {name}" if top else name for top, name in zip(above, header, strict=True)
        ]
    align = ["---" if number < sheet.labels else "---:" for number in range(len(header))]
    lines = [header, align, *sheet.rows]
    table = [
        "| " + " | ".join(line if line is align else map(escape_markdown, line)) + " |"
        for line in lines
    ]
    notes = [f"- {escape_markdown(note)}" for note in sheet.notes]
    return "\n".join([f"## {escape_markdown(sheet.title)}", "", *table, "", *notes]).rstrip() + "\n"


def escape_markdown(text: str) -> str:
    """Foreign text, escaped for Markdown; line breaks become `<br>`."""
    escaped = re.sub(r"([\\`*_\[\]|<>#~])", r"\\\1", clean(text))
    return escaped.replace("\r", " ").replace("\n", "<br>")


def latex(sheet: Sheet) -> str:
    """A sheet as a LaTeX table in the style of booktabs."""
    columns = "l" * sheet.labels + "r" * (len(sheet.header) - sheet.labels)
    lines = [r"\begin{table}", r"\centering\small", rf"\caption{{{_latex(sheet.title)}}}"]
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
    for number, row in enumerate(sheet.rows):
        if number in sheet.starts and number:
            lines.append(r"\addlinespace")
        lines.append(" & ".join(map(_stacked, row)) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(["% needs booktabs and amssymb", *lines]) + "\n"


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
