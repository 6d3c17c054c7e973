"""A sheet as Markdown. Foreign text is escaped, so that it is shown literally."""

import re
from collections.abc import Iterable
from typing import Final

from vlmguard.results.formats.sheets import Line, Sheet
from vlmguard.results.sanitize import clean

__all__ = ["escape_markdown", "markdown", "markdown_lines"]

_WIDEST: Final = 12
"""Columns of a Markdown table that can still be read."""


def markdown(sheet: Sheet) -> str:
    """A sheet as a Markdown section with a table, best values bold.

    A sheet too wide to be read becomes a table for each of its spans, without the rows that are
    empty there.
    """
    return "\n".join(text for _, text in markdown_lines(sheet)).rstrip() + "\n"


def markdown_lines(sheet: Sheet) -> list[Line]:
    """The lines of `markdown`, each with the row that it shows; a page copies some of them."""
    lines: list[Line] = [(None, f"## {escape_markdown(sheet.title)}"), (None, "")]
    if sheet.spans and len(sheet.header) > _WIDEST:
        (_, start), *others = sheet.spans
        for title, width in others:
            columns = [*range(sheet.labels), *range(start, start + width)]
            start += width
            names = [sheet.header[column] for column in columns]
            lines += [(None, f"### {escape_markdown(title)}"), (None, "")]
            lines += [*_table(sheet, names, columns), (None, "")]
    else:
        above = [title for title, width in sheet.spans for _ in range(width)]
        tops = above or [""] * len(sheet.header)
        names = [
            f"{top}: {name}" if top else name for top, name in zip(tops, sheet.header, strict=True)
        ]
        lines += [*_table(sheet, names, [*range(len(names))]), (None, "")]
    return [*lines, *((None, f"- {escape_markdown(note)}") for note in sheet.notes)]


def escape_markdown(text: str) -> str:
    """Foreign text, escaped for Markdown; line breaks become `<br>`."""
    escaped = re.sub(r"([\\`*_\[\]|<>#~])", r"\\\1", clean(text))
    return escaped.replace("\r", " ").replace("\n", "<br>")


def _table(sheet: Sheet, names: list[str], columns: list[int]) -> list[Line]:
    """Some columns of a sheet, without the rows that are empty there."""
    align = ["---" if column < sheet.labels else "---:" for column in columns]
    lines: list[Line] = [(None, _piped(map(escape_markdown, names))), (None, _piped(align))]
    for number, row in enumerate(sheet.rows):
        if any(row[column] for column in columns[sheet.labels :]) or not sheet.spans:
            cells = [_cell(row[column], (number, column) in sheet.best) for column in columns]
            lines.append((number, _piped(cells)))
    return lines


def _piped(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: str, best: bool) -> str:
    first, *rest = cell.split("\n")
    value = f"**{escape_markdown(first)}**" if best and first.strip() else escape_markdown(first)
    return "<br>".join([value, *map(escape_markdown, rest)])
