"""A leaderboard as a folder of files: tables for people and programs, a page, figures."""

import json
import math
import re
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from vlmguard.guard.errors import UserError
from vlmguard.results.formats.latex_file import latex_file
from vlmguard.results.formats.markdown import escape_markdown, markdown
from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.formats.spreadsheet import csv_text
from vlmguard.results.formats.writing import write_files
from vlmguard.results.leaderboard.all_tables import board_sheets
from vlmguard.results.leaderboard.beside import partners_of, utility_change
from vlmguard.results.leaderboard.exact import with_exact_names
from vlmguard.results.leaderboard.extras import Extras
from vlmguard.results.leaderboard.figures.kept import pictures_of
from vlmguard.results.leaderboard.figures.page import figure_files, shown_figures
from vlmguard.results.leaderboard.figures.pictures import picture_of
from vlmguard.results.leaderboard.figures.sketches import sketches_of
from vlmguard.results.leaderboard.model import Group, Leaderboard
from vlmguard.results.leaderboard.page import page
from vlmguard.results.leaderboard.published_numbers import Published, load_published
from vlmguard.results.leaderboard.red_team_data import red_team_csv, red_team_data
from vlmguard.results.leaderboard.tables import left_out_sheet, main_sheet, published_sheet
from vlmguard.results.leaderboard.typeset import typeset
from vlmguard.results.logs.coverage import KINDS, TOTAL
from vlmguard.results.logs.measures import ARROWS
from vlmguard.results.logs.run import Run
from vlmguard.results.sanitize import escaped, one_line

__all__ = ["as_csv", "as_json", "board_sheets", "page", "published_for", "write_leaderboard"]


def published_for(board: Leaderboard) -> list[Published]:
    """Published numbers on the benchmarks of a leaderboard."""
    return load_published({group.column.title for group in board.groups})


def write_leaderboard(
    board: Leaderboard,
    folder: Path,
    extras: Extras | None = None,
    tables: list[Sheet] | None = None,
    intervals: bool = False,
) -> list[str]:
    """Write Markdown, LaTeX, CSV, JSON, a page, and figures as SVG, PNG and PDF.

    Args:
        board: The leaderboard.
        folder: Made if it does not exist.
        extras: Additions of the caller.
        tables: Replace the tables of the full layout.
        intervals: Whether LaTeX, too, shows differences and intervals, below the means.

    Returns:
        Names of the files.

    Raises:
        UserError: The folder cannot be written to (nothing in it has changed then), or the title
            of an extra figure cannot be a file name.
    """
    extras = extras or Extras()
    for title in extras.figures:
        if not re.fullmatch(r"[\w-]+", title):
            raise UserError(f"extra figure {title!r}: name it by letters, digits, - and _ alone.")
    shown = [main_sheet(board, intervals), *board_sheets(board)] if tables is None else tables
    ours = [each for each in [*shown, *extras.sheets] if each.rows]
    published = published_for(board)
    notes = [*board.notes, *extras.notes]
    written = [*ours, published_sheet(published), left_out_sheet(board)]
    pictures = pictures_of(sketches_of(board)) | {
        name: picture_of(figure, f"x{number}-")
        for number, (name, figure) in enumerate(extras.figures.items())
    }
    head = "".join(f"> {escape_markdown(one_line(note))}\n\n" for note in notes)
    typed = [typeset(each, intervals) for each in ours]
    files = {
        "leaderboard.md": head + "\n".join(markdown(each) for each in written if each.rows),
        "leaderboard.tex": latex_file(typed, notes, board.footnotes, intervals),
        "leaderboard.csv": as_csv(board),
        "leaderboard.json": as_json(board, published, extras),
        "leaderboard.html": page(board, published, shown_figures(pictures), extras),
    }
    if (under := red_team_csv(board)) is not None:
        files["red_team.csv"] = under
    content = {name: text.encode() for name, text in files.items()}
    content |= figure_files(pictures)
    write_files(folder, content)
    return list(content)


def as_csv(board: Leaderboard) -> str:
    """All numbers: a line for each target, defense, benchmark and measure."""
    counted = [TOTAL, *KINDS]
    names = ["mean", "low", "high", "scored", "of", "scored_clusters"]
    names += ["worst_case_low", "worst_case_high", "unscored"]
    names += [name.replace(" ", "_") for name in counted]
    differences = ["difference", "difference_low", "difference_high", "pairs", "clusters"]
    tests = ["test", "p", "p_adjusted", "verdict"]
    utility = ["utility_change", "utility_change_low", "utility_change_high"]
    header = [
        *("target", "defense", "benchmark", "variant", "attack", "version", "data", "judge"),
        *("requests", "harmless_partners"),
        *("measure", "direction"),
        *(*names, *differences, *tests, *utility, "failures", "triggered"),
        *("skipped", "outputs", "blocked", "refused_by_model"),
        *("calls", "tokens", "cost", "throughput", "throughput_shared"),
        *("latency", "latency_p95", "latency_of", "note"),
        *("target_label", "defense_label", "group_label", "settings", "judging"),
    ]
    rows: list[list[Any]] = []
    boards = [board, *([board.attacked] if board.attacked else [])]
    for of, entry in ((each, entry) for each in boards for entry in each.entries):
        group, column, cost = entry.group, entry.group.column, entry.overhead
        for measure in group.measures:
            cell = entry.cells[measure.name]
            cover, found = cell.coverage, cell.difference
            line: list[Any] = [*of.exact(entry.target, entry.defense)]
            line += [column.benchmark, column.variant]
            line += [column.under, column.version, column.data, group.judge]
            line += [group.kind, ", ".join(partners_of(of, entry))]
            line += [measure.name, ARROWS[measure.better], cell.mean, cell.low, cell.high]
            line += [cover.scored, cover.of, cell.clusters, cover.low, cover.high]
            line.append(", ".join(f"{reason} {count}" for reason, count in cover.reasons.items()))
            line += [cover.counts[name] for name in counted]
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
            line += [cell.p, cell.verdict]
            useful = utility_change(of, entry, measure.name)
            line += [useful.mean, useful.low, useful.high] if useful else [None] * 3
            line += [entry.failures, entry.triggered, entry.skipped]
            line += [sum(entry.outputs.values()), entry.outputs.get("blocked", 0)]
            line.append(entry.refusals.get("model"))
            line += [cost.calls, cost.tokens, cost.cost, cost.throughput, cost.shared]
            line += [cost.latency, cost.latency_p95, cost.latency_of]
            line.append("; ".join(filter(None, [entry.note, entry.unpaired, cost.gap])))
            line += [entry.target, entry.defense, group.title, column.settings, column.judging]
            rows.append(line)
    return csv_text(header, rows)


def as_json(board: Leaderboard, published: list[Published], extras: Extras) -> str:
    """Everything, for other programs; unknown values are null."""
    under = board.attacked
    content = {
        **with_exact_names(board, board_data(board)),
        "attacked": with_exact_names(under, board_data(under)) if under else None,
        "red_team": red_team_data(board),
        "notes": [*board.notes, *extras.notes],
        "rows": [board.exact(*row) for row in board.rows()],
        "tables": [
            {"title": sheet.title, "header": sheet.header, "rows": sheet.rows}
            for sheet in extras.sheets
        ],
        "published": [asdict(row) for row in published],
    }
    text = json.dumps(null(content), indent=1, ensure_ascii=False, allow_nan=False)
    return escaped(text) + "\n"


def board_data(board: Leaderboard) -> dict[str, Any]:
    """A leaderboard as plain data; groups and runs are referred to by their positions."""
    groups = {group: place for place, group in enumerate(board.groups)}
    runs = {run: place for place, run in enumerate(board.runs)}

    def plain(value: Any) -> Any:
        if isinstance(value, Group):
            return groups[value]
        if isinstance(value, Run):
            return runs[value]
        if isinstance(value, dict):
            return {name: plain(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [plain(each) for each in value]
        return inside(value) if is_dataclass(value) else value

    def inside(value: Any) -> dict[str, Any]:
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}

    content = inside(replace(board, groups=[], runs=[], attacked=None))
    del content["runs"], content["attacked"]
    return content | {"groups": [inside(group) for group in board.groups]}


def null(value: Any) -> Any:
    """Content for JSON, with null for numbers that are not finite."""
    if isinstance(value, dict):
        return {name: null(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [null(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
