"""Cells of a sheet as LaTeX, each with the text that its width is measured by."""

import textwrap
from dataclasses import dataclass
from typing import Final

from vlmguard.results.formats.latex_text import escape_latex, text_width
from vlmguard.results.formats.sheets import MARKS, brief

__all__ = ["Shown", "cell_lines", "wrapped"]

_LONGEST: Final = 28
"""Letters of a name on one line."""
_LONGEST_WORD: Final = 40
_BESIDE: Final = 16
"""Letters of remarks that stand beside a number; longer ones stand below it."""


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
        return [_number(first, standing), *(_small(each) for each in rest)]
    value = _number(first, standing)
    if not rest:
        return [value]
    remarks = f"({'; '.join(rest)})"
    if text_width(remarks) > _BESIDE:
        return [value, *(_small(each) for each in rest)]
    beside = value.latex.replace(r"\rlap", "")
    return [Shown(f"{value.text} {remarks}", rf"{beside} {{\scriptsize {_text(remarks)}}}")]


def _small(text: str) -> Shown:
    line = _number(text)
    return Shown(line.text, rf"{{\scriptsize {line.latex}}}")


def wrapped(text: str) -> list[str]:
    """A name in lines that are short enough for a column."""
    lines = textwrap.wrap(text, _LONGEST, break_long_words=False, break_on_hyphens=False)
    return [piece for line in lines for piece in _pieces(line)] or [""]


def _pieces(line: str) -> list[str]:
    """A line, or parts of one that is a long word: broken behind a slash if it has any."""
    pieces = []
    while len(line) > _LONGEST_WORD:
        cut = line.rfind("/", 0, _LONGEST_WORD) + 1 or _LONGEST_WORD
        pieces.append(line[:cut])
        line = line[cut:]
    return [*pieces, line]


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
