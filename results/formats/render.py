"""Sheets as terminal tables, Markdown and LaTeX; the leaderboard as CSV and JSON.

Names of models and texts of logs are foreign: each format escapes them its own way.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any, Final, Literal

from rich.box import SIMPLE
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.formats.spreadsheet import csv_text
from vlmguard.results.leaderboard.extras import Extras
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.published_numbers import Published
from vlmguard.results.logs.measures import ARROWS
from vlmguard.results.sanitize import clean, escaped

# Narrower terminals break numbers over lines rather than cut names off.
_WIDE: Final = 110
_LAST_FOLDED: Final = "Defense"
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


def print_sheets(sheets: list[Sheet], console: Console) -> None:
    """Print sheets as rich tables.

    Args:
        sheets: What to print; empty ones are skipped.
        console: Where to.
    """
    for sheet in sheets:
        if sheet.rows:
            console.print(_rich(sheet, console))


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


def as_csv(board: Leaderboard) -> str:
    """All numbers, a line for each target, defense, benchmark and measure."""
    names = ["mean", "low", "high", "scored", "of", "scored_clusters"]
    names += ["worst_case_low", "worst_case_high", "unscored"]
    differences = ["difference", "difference_low", "difference_high", "pairs", "clusters"]
    tests = ["test", "p", "p_adjusted", "verdict"]
    header = [
        *("target", "defense", "benchmark", "variant", "version", "data", "judge"),
        *("measure", "direction"),
        *(*names, *differences, *tests, "failures", "triggered"),
        *("calls", "tokens", "cost", "throughput", "throughput_shared"),
        *("latency", "latency_of", "note"),
    ]
    rows: list[list[Any]] = []
    for entry in board.entries:
        group = board.groups[entry.group]
        column, cost = group.column, entry.overhead
        for measure in group.measures:
            cell = entry.cells[measure.name]
            cover, found = cell.coverage, cell.difference
            line: list[Any] = [entry.target, entry.defense, column.benchmark, column.variant]
            line += [column.version, column.data, group.judge]
            line += [measure.name, ARROWS[measure.better], cell.mean, cell.low, cell.high]
            line += [cover.scored, cover.of, cell.clusters, cover.low, cover.high]
            line.append(", ".join(f"{reason} {count}" for reason, count in cover.reasons.items()))
            line += (
                [
                    found.mean,
                    found.low,
                    found.high,
                    found.pairs,
                    found.clusters,
                    found.test,
                    found.p,
                ]
                if found
                else [None] * 7
            )
            line += [cell.p, cell.verdict, entry.failures, entry.triggered]
            line += [cost.calls, cost.tokens, cost.cost, cost.throughput, cost.shared]
            line += [cost.latency, cost.latency_of]
            line.append("; ".join(filter(None, [entry.note, cost.gap])))
            rows.append(line)
    return csv_text(header, rows)


def as_json(board: Leaderboard, published: list[Published], extras: Extras) -> str:
    """Everything, for other programs; what is not known is null."""
    content = {
        **asdict(board),
        "notes": [*board.notes, *extras.notes],
        "rows": board.rows(),
        "tables": [
            {"title": sheet.title, "header": sheet.header, "rows": sheet.rows}
            for sheet in extras.sheets
        ],
        "published": [asdict(row) for row in published],
    }
    text = json.dumps(null(content), indent=1, ensure_ascii=False, allow_nan=False)
    return escaped(text) + "\n"


def _rich(sheet: Sheet, console: Console) -> RenderableType:
    notes = [Text(f"  {clean(note)}", style="dim") for note in sheet.notes]
    if console.width >= _WIDE:
        return Group(_wide_table(sheet, console.width), *notes, Text(""))
    if not sheet.starts:
        table = _narrow_table(sheet.title, sheet.header, sheet.rows, sheet.labels, console.width)
        return Group(table, *notes, Text(""))
    # No room for a column of targets: a table for each, without intervals.
    blocks = [sheet.rows[a:b] for a, b in pairwise([*sorted(sheet.starts), len(sheet.rows)])]
    tables = [
        _narrow_table(
            f"{sheet.title}: {rows[0][0]}",
            sheet.header[1:],
            [[_without_brackets(cell) for cell in row[1:]] for row in rows],
            sheet.labels - 1,
            console.width,
        )
        for rows in blocks
    ]
    notes.append(Text(f"  Intervals need {_WIDE} columns, or --out.", style="dim"))
    return Group(*tables, *notes, Text(""))


def _wide_table(sheet: Sheet, room: int) -> Table:
    table = Table(title=_bold(sheet.title), title_justify="left", box=SIMPLE)
    # Each column has a blank at either side, and a separator.
    widths = _wide_widths(sheet, room - 3 * len(sheet.header) - 1)
    for number, name in enumerate(sheet.header):
        left = number < sheet.labels
        table.add_column(
            Text(clean(name)),
            justify="left" if left else "right",
            overflow="fold",
            width=widths[number],
        )
    for number, row in enumerate(sheet.rows):
        if number in sheet.starts and number:
            table.add_section()
        # Within a block the target is named once.
        repeated = bool(sheet.starts) and number not in sheet.starts
        table.add_row(*(_coloured(cell) for cell in ["" if repeated else row[0], *row[1:]]))
    return table


def _narrow_table(
    title: str, header: list[str], rows: list[list[str]], labels: int, room: int
) -> Table:
    table = Table(
        title=_bold(title),
        title_justify="left",
        box=SIMPLE,
        padding=0,
        pad_edge=False,
        show_edge=False,
    )
    names = [name.replace("Over-", "Over- ") for name in header]
    for number, width in enumerate(_widths(names, rows, labels, room - len(names) + 1)):
        justify: Literal["left", "right"] = "left" if number < labels else "right"
        table.add_column(Text(clean(names[number])), justify=justify, overflow="fold", width=width)
    for row in rows:
        table.add_row(*(_coloured(cell) for cell in row))
    return table


def _widths(header: list[str], rows: list[list[str]], labels: int, room: int) -> list[int]:
    """Widths that break no number as long as names can give way."""
    widths = [
        max(
            *(len(word) for word in name.split()),
            *(len(line) for row in rows for line in row[number].split("\n")),
        )
        for number, name in enumerate(header)
    ]
    for columns, least in ((range(labels), 8), (range(labels, len(header)), 4), (range(labels), 4)):
        _narrow(widths, columns, least, room)
    return widths


def _wide_widths(sheet: Sheet, room: int) -> list[int]:
    """Widths on one line; without room headings are broken, then names, defenses last."""
    widths = [
        max(len(line) for row in [sheet.header, *sheet.rows] for line in row[number].split("\n"))
        for number in range(len(sheet.header))
    ]
    for number in range(sheet.labels, len(sheet.header)):
        if sum(widths) > room:
            lines = [line for row in sheet.rows for line in row[number].split("\n")]
            widths[number] = max(map(len, [*sheet.header[number].split(), *lines]))
    others = [n for n, name in enumerate(sheet.header[: sheet.labels]) if name != _LAST_FOLDED]
    for columns in (others, range(sheet.labels)):
        _narrow(widths, columns, 8, room)
    return widths


def _narrow(widths: list[int], columns: Sequence[int], least: int, room: int) -> None:
    """Take from the widest of some columns until all have room, or each has its least."""
    while columns and sum(widths) > room:
        widest = max(columns, key=lambda number: widths[number])
        if widths[widest] <= least:
            break
        widths[widest] -= 1


def _without_brackets(cell: str) -> str:
    """A cell without the lines in brackets: intervals and bounds would break over lines."""
    kept = [line for line in cell.split("\n") if not line.startswith("[")]
    return "\n".join(kept).replace(" ▲", "▲").replace(" ▼", "▼")


def _bold(title: str) -> Text:
    return Text(clean(title), style="bold")


def _coloured(cell: str) -> Text:
    text = Text(clean(cell))
    text.highlight_regex("▲", "bold green")
    text.highlight_regex("▼", "bold red")
    text.highlight_regex(r"(?s)\n.*", "dim")
    return text


def escape_markdown(text: str) -> str:
    """Foreign text that Markdown shows as it is, line breaks in a cell included."""
    escaped = re.sub(r"([\\`*_\[\]|<>#~])", r"\\\1", clean(text))
    return escaped.replace("\r", " ").replace("\n", "<br>")


def _latex(text: str) -> str:
    escaped = "".join(_LATEX.get(letter, letter) for letter in clean(text))
    return re.sub(r"(?<!\w)-(?=\d)", "$-$", escaped)


def _stacked(cell: str) -> str:
    lines = [_latex(line) for line in cell.split("\n")]
    if len(lines) == 1:
        return lines[0]
    small = [rf"\scriptsize {line}" for line in lines[1:]]
    # An empty group keeps LaTeX from reading "[" after a line break as an option.
    return r"\shortstack[r]{" + r" \\{} ".join([lines[0], *small]) + "}"


def null(value: Any) -> Any:
    """Content for JSON, in which what is not a finite number is null."""
    if isinstance(value, dict):
        return {name: null(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [null(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
