"""Sheets as LaTeX tables that need no retyping: booktabs, a caption, a label.

head, tail = latex_frame(sheet)   # what stands above and below the rows
latex_rows(sheet)                 # a text for each row
latex(sheet)                      # tables that fit a paper of two columns
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest

from vlmguard.results.formats.latex_cells import cell_lines, wrapped
from vlmguard.results.formats.latex_text import escape_latex, text_width
from vlmguard.results.formats.latex_width import (
    COLUMN,
    PAGE,
    column_widths,
    heading_lines,
    pages_of,
    width_of,
)
from vlmguard.results.formats.sheets import Line, Sheet

__all__ = ["latex", "latex_lines"]

_NUMBERS = re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_PLAIN = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")


def latex(sheet: Sheet, footnotes: Sequence[str] = (), intervals: bool = False) -> str:
    """A sheet as LaTeX tables, each narrow and short enough for a page.

    Args:
        sheet: A table; its blocks get a line with their first label, and no column for it.
        footnotes: What the raised numbers behind names stand for, from 1; those that occur are
            written below the table.
        intervals: Whether differences and intervals stand below the means.
    """
    found = [_table(each, footnotes, intervals) for each in pages_of(sheet, intervals)]
    return "\n\n".join("\n".join(text for _, text in lines) for lines in found) + "\n"


def latex_lines(sheet: Sheet, footnotes: Sequence[str] = ()) -> list[Line]:
    """The lines of one table with all labels, each with the row that it shows.

    A page copies some of them: no line is about several rows, as those of blocks are in `latex`.

    Args:
        sheet: A table.
        footnotes: What the raised numbers behind names stand for.
    """
    return _table(replace(sheet, starts=set()), footnotes, False)


def _table(sheet: Sheet, footnotes: Sequence[str], intervals: bool) -> list[Line]:
    skip = 1 if sheet.starts else 0
    head, tail = _frame(sheet, footnotes, intervals, skip)
    width = len(sheet.header) - skip
    body: list[Line] = []
    for number, row in enumerate(sheet.rows):
        if number in sheet.starts:
            body += [(None, r"\addlinespace")] if number else []
            body += [
                (None, rf"\multicolumn{{{width}}}{{l}}{{\textit{{{escape_latex(line)}}}}} \\")
                for line in wrapped(row[0])
            ]
        body.append((number, _row(sheet, number, skip, intervals)))
    return [*((None, line) for line in head), *body, *((None, line) for line in tail)]


def _frame(
    sheet: Sheet, footnotes: Sequence[str], intervals: bool, skip: int
) -> tuple[list[str], list[str]]:
    """What stands around the rows; `skip` leading columns have lines of their own."""
    total = width_of(sheet, intervals)
    room, name = (COLUMN, "table") if total <= COLUMN else (PAGE, "table*")
    # The width is an estimate: where it comes near the limit, the table shrinks if it must.
    shrinks = total > 0.9 * room
    labels = sheet.labels - skip
    columns = "l" * labels + "r" * (len(sheet.header) - sheet.labels)
    caption = " ".join(filter(None, [f"{sheet.title}.", sheet.caption]))
    head = [
        rf"\begin{{{name}}}[tbp]",
        r"\centering\small\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{_breakable(caption)}}}",
        rf"\label{{tab:{sheet.name or 'table'}}}",
        r"\smallskip",
    ]
    if shrinks:
        head.append(r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%")
    head += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    head += [*_above(sheet, skip), *_headings(sheet, intervals, skip), r"\midrule"]
    tail = [r"\bottomrule", r"\end{tabular}" + ("}" if shrinks else "")]
    used = _used(sheet, footnotes)
    if used:
        tail += [r"\par\smallskip", rf"\parbox{{\linewidth}}{{\footnotesize\raggedright {used}}}"]
    tail.append(rf"\end{{{name}}}")
    return head, tail


def _above(sheet: Sheet, skip: int) -> list[str]:
    """The headings above the headings, with a rule below each."""
    tops, rules, start = [], [], 1
    for place, (title, width) in enumerate(sheet.spans):
        held = width - skip if place == 0 else width
        if not held:
            continue
        tops.append(rf"\multicolumn{{{held}}}{{c}}{{{escape_latex(title)}}}")
        if title:
            rules.append(rf"\cmidrule(lr){{{start}-{start + held - 1}}}")
        start += held
    return [" & ".join(tops) + r" \\", *(["".join(rules)] if rules else [])] if tops else []


def _headings(sheet: Sheet, intervals: bool, skip: int) -> list[str]:
    """The headings, broken between words where their column is narrower."""
    widths = column_widths(sheet, intervals)
    columns = [
        heading_lines(name, width)
        for name, width in list(zip(sheet.header, widths, strict=True))[skip:]
    ]
    most = max(map(len, columns))
    padded = [["", *[""] * (most - len(lines) - 1), *lines][-most:] for lines in columns]
    return [" & ".join(map(escape_latex, line)) + r" \\" for line in zip(*padded, strict=True)]


def _row(sheet: Sheet, number: int, skip: int, intervals: bool) -> str:
    cells = []
    for column, cell in list(enumerate(sheet.rows[number]))[skip:]:
        place = (number, column)
        standing = 1 if place in sheet.best else 2 if place in sheet.second else 0
        lines = cell_lines(cell, column < sheet.labels, intervals, standing)
        cells.append([line.latex for line in lines])
    texts = [" & ".join(line) + r" \\" for line in zip_longest(*cells, fillvalue="")]
    # With an empty group, LaTeX does not read "[" or "*" after a line break as an option.
    return "\n".join(f"{'{}' if line[0] in '[*' else ''}{line}" for line in texts)


def _used(sheet: Sheet, footnotes: Sequence[str]) -> str:
    """The footnotes whose numbers occur in a sheet."""
    texts = [*sheet.header, *(top for top, _ in sheet.spans)]
    texts += [row[column] for row in sheet.rows for column in range(sheet.labels)]
    numbers = {int(found.translate(_PLAIN)) for text in texts for found in _NUMBERS.findall(text)}
    return " ".join(
        rf"\textsuperscript{{{number}}} {_breakable(footnotes[number - 1])}"
        for number in sorted(numbers)
        if 0 < number <= len(footnotes)
    )


def _breakable(text: str) -> str:
    """Escaped text whose long words may be broken, so that none stands out of the margin."""
    words = []
    for word in text.split():
        pieces = re.findall(r"[^/_=,]*[/_=,]|[^/_=,]+", word) if text_width(word) > 16 else [word]
        cut = [piece[at : at + 16] for piece in pieces for at in range(0, len(piece), 16)]
        words.append(r"\allowbreak{}".join(map(escape_latex, cut)))
    return " ".join(words)
