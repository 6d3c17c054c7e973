"""Why a difference carries no mark."""

import math

import pytest
from support.boards import a_group, a_run

from vlmguard.results.leaderboard.comparisons import verdict
from vlmguard.results.leaderboard.model import Cell, Entry, Leaderboard, Overhead
from vlmguard.results.leaderboard.unmarked import why_unmarked
from vlmguard.results.logs.coverage import Coverage
from vlmguard.results.logs.measures import Measure
from vlmguard.results.stats.differences import Difference

BOTH = Measure("safe_and_helpful", "safe_and_helpful", "Safe & helpful %", 1.0, 1)
NEUTRAL = Measure("dsr", "dsr", "DSR %", 1.0, 0)
OTHER = Measure("toy.other", "toy.other", "Other %", 1.0, 1, primary=False)
NAN = math.nan


@pytest.mark.parametrize(
    ("defense", "measure", "low", "p", "said"),
    [
        ("vlmguard", BOTH, 0.05, 0.0004, ""),
        ("vlmguard", BOTH, NAN, 0.04, ""),
        ("vlmguard", BOTH, 0.05, 0.21, "p = 0.210 after correction"),
        ("vlmguard", BOTH, NAN, 0.21, "p = 0.210 after correction"),
        (
            "vlmguard",
            BOTH,
            -0.01,
            0.0004,
            "the interval reaches zero (p < 0.001 after correction)",
        ),
        ("vlmguard", BOTH, -0.2, NAN, "not tested (no sample differs)"),
        ("vlmguard", NEUTRAL, 0.05, NAN, "not tested (the measure has no direction)"),
        ("vlmguard", OTHER, 0.05, NAN, "not tested (not a measure of the main table)"),
        ("always_refuse", BOTH, 0.05, NAN, "not tested (control)"),
        ("always_refuse (text=no)", NEUTRAL, 0.05, NAN, "not tested (control)"),
        ("vlmguard", BOTH, None, NAN, ""),
    ],
)
def test_what_has_no_mark_says_why(
    defense: str, measure: Measure, low: float | None, p: float, said: str
) -> None:
    cell = Cell(0.5, 0.4, 0.6, 30, Coverage(30, 30, 0.5, 0.5, {}), p=p)
    if low is not None:
        cell.difference = Difference(0.3, low, 0.5, 0.001, "McNemar", 30, 30)
        cell.verdict = verdict(measure, 0.3, low, 0.5, p)
    group = a_group([measure])
    run = a_run("mockllm/alpha", defense.split(" ")[0])
    entry = Entry(
        *(run, run.target, defense, group, 30, {measure.name: cell}),
        categories={},
        slices={},
        failures=None,
        triggered=None,
        overhead=Overhead(),
    )
    assert why_unmarked(Leaderboard([group], [entry]), entry, measure) == said


def test_every_difference_of_a_table_has_a_mark_or_a_reason(board: Leaderboard) -> None:
    for entry in board.entries:
        for measure in entry.group.measures:
            cell = entry.cells[measure.name]
            why = why_unmarked(board, entry, measure)
            assert bool(why) == (cell.difference is not None and not cell.verdict)
