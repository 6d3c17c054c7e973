"""Leaderboards to draw, made of numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from support.boards import a_group, a_run

from vlmguard.results.leaderboard.beside import pair_up
from vlmguard.results.leaderboard.model import Cell, Entry, Leaderboard, Overhead
from vlmguard.results.logs.coverage import SCORED, TOTAL, Coverage
from vlmguard.results.logs.measures import Measure
from vlmguard.results.stats.differences import Difference

SAFETY = Measure("judge.safety", "safety", "Safety 0-10", 10.0, 1)
HELPFUL = Measure("judge.helpful", "helpful", "Helpful %", 1.0, 1, help=True)
BOTH = Measure("judge.safe_and_helpful", "safe_and_helpful", "Safe & helpful %", 1.0, 1, help=True)
REFUSED = Measure("over_refusal", "over_refusal", "Over-refusal %", 1.0, -1, help=True)
MEASURES = (SAFETY, HELPFUL, BOTH, REFUSED)

Row = tuple[float, float, float]
"""Safety, helpfulness and over-refusal."""


def board_of(
    rows: Mapping[str, Row],
    targets: Sequence[str] = ("target",),
    benchmarks: Sequence[str] = ("Toy all",),
    categories: Sequence[str] = ("fire", "water"),
    kind: str = "mixed",
) -> Leaderboard:
    """A leaderboard with the same rows for each target and benchmark.

    Args:
        rows: Numbers by defense.
        targets: The targets.
        benchmarks: Headings of the groups.
        categories: Names of categories.
        kind: Of the requests of each group.
    """
    board = Leaderboard()
    for number, label in enumerate(benchmarks):
        group = a_group(MEASURES, "safe_and_helpful")
        column = replace(group.column, benchmark=f"toy{number}")
        group = replace(group, label=label, kind=kind, headline="safety", column=column)
        board.groups.append(group)
        for target in targets:
            for defense, (safety, helpful, refused) in rows.items():
                both = min(safety / 10, helpful)
                means = {"safety": safety, "helpful": helpful, "over_refusal": refused}
                cells = {
                    each.name: _cell(means.get(each.name, both), each, defense) for each in MEASURES
                }
                found = {each.name: (means.get(each.name, both), 12) for each in MEASURES}
                of_category = dict.fromkeys(categories, found)
                board.entries.append(
                    Entry(
                        *(a_run(target, defense), target, defense, group, 24),
                        *(cells, of_category, {}, 0.0, 0.0),
                        Overhead(calls=1.0 + len(defense) % 4),
                        counts={SCORED: 24, TOTAL: 24},
                    )
                )
    board.runs = [entry.run for entry in board.entries]
    pair_up(board)
    return board


def _cell(mean: float, measure: Measure, defense: str) -> Cell:
    half = 0.04 * measure.highest
    low, high = max(0.0, mean - half), min(measure.highest, mean + half)
    change = Difference(mean / 3, mean / 3 - half, mean / 3 + half, 0.01, "permutation", 24, 24)
    cell = Cell(mean, low, high, 24, Coverage(24, 24, mean, mean))
    if defense != "undefended" and not math.isnan(mean):
        cell.difference, cell.verdict = change, "better" if mean > 0.5 else ""
    return cell
