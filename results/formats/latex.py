"""Sheets as LaTeX tables; foreign text is escaped, so that it compiles and is shown as it is."""

import re
from typing import Final

from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.sanitize import clean

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
    # An empty group keeps LaTeX from reading "[" after a line break as an option.
    return r"\shortstack[r]{" + r" \\{} ".join([lines[0], *small]) + "}"


def _latex(text: str) -> str:
    escaped = "".join(_LATEX.get(letter, letter) for letter in clean(text))
    return re.sub(r"(?<!\w)-(?=\d)", "$-$", escaped)
