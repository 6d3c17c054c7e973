"""Cells of a sheet as LaTeX, each with the text that its width is measured by."""

import textwrap
from dataclasses import dataclass

from vlmguard.results.formats.latex_text import escape_latex
from vlmguard.results.formats.sheets import MARKS, brief

__all__ = ["Shown", "cell_lines", "wrapped"]

_LONGEST: int = 34
"""Letters of a name on one line."""


@dataclass(frozen=True)
class Shown:
    """A line of a cell.

    Attributes:
        text: As it is read, for its width.
        latex: As it is written.
    """

    text: str
    latex: str


def cell_lines(cell: str, label: bool, intervals: bool, standing: int = 0) -> list[Shown]:
    """The lines of a cell: one, unless it is a long name or intervals are wanted.

    Args:
        cell: The text.
        label: Whether it is a name, and no number.
        intervals: Whether differences and intervals are shown, each on a line of its own.
        standing: 1 for the best of its column, which is set bold; 2 for the second, underlined.
    """
    if label:
        parts = cell.split("\n") if intervals else [", ".join(filter(None, cell.split("\n")))]
        return [Shown(each, escape_latex(each)) for part in parts for each in wrapped(part)]
    first, *rest = cell.split("\n") if intervals else brief(cell)
    if intervals:
        small = [_number(each) for each in rest]
        return [
            _number(first, standing),
            *(Shown(each.text, rf"{{\scriptsize {each.latex}}}") for each in small),
        ]
    value = _number(first, standing)
    if not rest:
        return [value]
    remarks = f"({'; '.join(rest)})"
    return [Shown(f"{value.text} {remarks}", rf"{value.latex} {{\scriptsize {_text(remarks)}}}")]


def wrapped(text: str) -> list[str]:
    """A name in lines that are short enough for a column."""
    return textwrap.wrap(text, _LONGEST, break_on_hyphens=False) or [""]


def _number(text: str, standing: int = 0) -> Shown:
    """A number, with its mark raised and beyond its column, so that the digits stay in line."""
    value = text.rstrip(f"{MARKS} ")
    marks = text[len(value) :].strip()
    shown = _text(value)
    if value and standing:
        shown = rf"\textbf{{{shown}}}" if standing == 1 else rf"\underline{{{shown}}}"
    raised = rf"\rlap{{\textsuperscript{{{escape_latex(marks)}}}}}" if marks else ""
    return Shown(value, shown + raised)


def _text(text: str) -> str:
    return "--" if text == "-" else escape_latex(text)
