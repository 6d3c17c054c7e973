"""All numbers of a leaderboard, for other programs: CSV and JSON."""

import json
import math
from dataclasses import asdict, fields, is_dataclass, replace
from typing import Any

from vlmguard.results.formats.spreadsheet import csv_text
from vlmguard.results.leaderboard.extras import Extras
from vlmguard.results.leaderboard.model import Group, Leaderboard
from vlmguard.results.leaderboard.published_numbers import Published
from vlmguard.results.logs.measures import ARROWS
from vlmguard.results.logs.read import Run
from vlmguard.results.sanitize import escaped


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
        group, column, cost = entry.group, entry.group.column, entry.overhead
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
        **board_data(board),
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


def board_data(board: Leaderboard) -> dict[str, Any]:
    """A leaderboard as plain data, in which groups and runs are named by their places."""
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

    content = inside(replace(board, groups=[], runs=[]))
    del content["runs"]
    return content | {"groups": [inside(group) for group in board.groups]}


def null(value: Any) -> Any:
    """Content for JSON, in which what is not a finite number is null."""
    if isinstance(value, dict):
        return {name: null(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [null(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
