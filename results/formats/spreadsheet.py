"""Writes CSV files that are safe to open in a spreadsheet, and reads sample names back from them.

A cell that holds text of a log is foreign: it must not start a formula, control the program, or end
its row.
"""

import csv
import io
import math
import re
import unicodedata
from collections.abc import Iterable
from typing import Any, Final

from vlmguard.results.sanitize import clean

_STARTS: Final = "=+-@"
# Characters that programs may skip in front of a formula: white space and invisible characters.
_PASSED_OVER: Final = re.compile(
    "[\\s\xad\u061c\u180e\u200b-\u200f\u2060-\u2064\ufeff\N{REPLACEMENT CHARACTER}']*"
)
# Excel moves text beyond 32,767 units of UTF-16 into other cells.
_UNITS: Final = 32_000
_CUT: Final = " [cut here]"


def csv_text(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A CSV file.

    Args:
        header: Names of the columns.
        rows: Cells: numbers, texts (foreign ones as they are), None for nothing. Texts that no
            spreadsheet holds are cut, and say so.

    Returns:
        The file's text; every cell is quoted, every line ends in a line feed.
    """
    text = io.StringIO()
    # Quoted throughout: unquoted, a bare carriage return would end a row on Python 3.11.
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(header)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return text.getvalue()


def cells_of(values: Iterable[Any]) -> list[str]:
    """The texts of a row's cells, as `csv_text` writes them."""
    return [str(_cell(value)) for value in values]


def no_formula(text: str) -> str:
    """Text that a spreadsheet will not run as a formula, by a quotation mark before it if need be.

    Returns:
        The text; what starts with a formula's sign (full-width ones, and after white space,
        too), a tab or a line break has a `'` before it.
    """
    found = _PASSED_OVER.match(text)
    first = text[found.end() :][:1] if found else ""
    formula = unicodedata.normalize("NFKC", first)[:1] in tuple(_STARTS)
    return f"'{text}" if formula or text[:1] in ("\t", "\r", "\n") else text


def sheet_name(text: str) -> str:
    """The name of a sample as it comes back from a sheet, whether read from there or from a log.

    Args:
        text: An id of a log, or a cell.

    Returns:
        The text as a cell holds it, without the mark against formulas.
    """
    plain = text[1:] if text[:1] == "'" and no_formula(text[1:]) == text else text
    return _settled(plain)


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return no_formula(_settled(value))
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value


def _settled(text: str) -> str:
    """The text without control characters, with one kind of line break, no longer than a cell."""
    text = clean(text.replace("\r\n", "\n").replace("\r", "\n"))
    units = text.encode("utf-16-le")
    if len(units) <= 2 * _UNITS:
        return text
    return units[: 2 * _UNITS].decode("utf-16-le", errors="ignore") + _CUT
