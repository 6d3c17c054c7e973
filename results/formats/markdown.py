"""Sheets as Markdown; foreign text is escaped, so that it is shown as it is."""

import re

from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.sanitize import clean


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
    """Foreign text that Markdown shows as it is, line breaks in a cell included."""
    escaped = re.sub(r"([\\`*_\[\]|<>#~])", r"\\\1", clean(text))
    return escaped.replace("\r", " ").replace("\n", "<br>")
