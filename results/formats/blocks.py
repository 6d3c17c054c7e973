"""Sheets as blocks of lines, for rows with more in them than a table of a terminal has room for."""

import shutil
import textwrap

from vlmguard.results.formats.sheets import Sheet

__all__ = ["blocks", "wrapped"]


def blocks(sheet: Sheet) -> str:
    """A block of lines for each row: its name, then its other cells below their headings.

    Args:
        sheet: The rows; the first cell of each is its name.
    """
    width = shutil.get_terminal_size().columns
    _, *headings = [heading.replace("`", "") for heading in sheet.header]
    found = [sheet.title] if sheet.title else []
    for row in sheet.rows:
        name, *cells = [cell.replace("`", "") for cell in row]
        lines = [name]
        for heading, cell in zip(headings, cells, strict=True):
            # A list stands below its heading, an entry a line.
            parts = cell.split("\n")
            if len(parts) > 1 or heading.startswith("options ("):
                lines += [f"  {heading}:", *(wrapped(part, width, 4) for part in parts if part)]
            elif cell:
                lines.append(wrapped(f"{heading}: {cell}", width, 2))
        found.append("\n".join(lines))
    return "\n\n".join(found)


def wrapped(text: str, width: int, indent: int) -> str:
    """Text in lines between words, all but the first one with two blanks more before it."""
    return textwrap.fill(
        text,
        width,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )
