"""One table of what each defense brings and costs, in which what is not known is not zero."""

from pathlib import Path
from statistics import quantiles

import pytest

from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.field import UNKNOWN, field_sheet
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.logs.frame import read_results


@pytest.fixture
def own(matrix: Path) -> Leaderboard:
    """A leaderboard whose answers may be changed."""
    return build(read_results([str(matrix)]))


def cells(board: Leaderboard) -> dict[tuple[str, str], dict[str, str]]:
    sheet = field_sheet(board)
    return {(row[0], row[1]): dict(zip(sheet.header, row, strict=True)) for row in sheet.rows}


def test_a_row_for_each_target_and_defense(board: Leaderboard) -> None:
    sheet = field_sheet(board)
    assert [(row[0], row[1]) for row in sheet.rows] == board.rows()
    assert all(len(row) == len(sheet.header) for row in sheet.rows)


def test_what_is_not_known_is_not_zero(board: Leaderboard) -> None:
    for row in cells(board).values():
        assert row["Money per 1,000 ↓"] == UNKNOWN
        assert row["Latency p50 / p95, s ↓"] == UNKNOWN
    assert any("which is not zero" in note for note in field_sheet(board).notes)


def test_money_is_the_mean_of_all_answers_with_its_interval(own: Leaderboard) -> None:
    for entry in own.entries:
        costs = [0.001 if number % 2 else 0.003 for number in range(len(entry.run.answers))]
        entry.run.answers["cost"] = costs
        entry.run.answers["cluster"] = [str(number) for number in range(len(costs))]
    found = [row["Money per 1,000 ↓"] for row in cells(own).values()]
    assert all(cell.split("\n")[0] == "2.00" for cell in found), found
    intervals = [cell.split("\n")[1] for cell in found if "\n" in cell]
    assert intervals  # none below ten images
    for interval in intervals:
        low, high = map(float, interval.strip("[]").split(", "))
        assert 1 < low < 2 < high < 3
    # One answer whose price nobody knows.
    last = own.entries[-1]
    last.run.answers.loc[0, "cost"] = float("nan")
    changed = cells(own)
    assert changed[last.target, last.defense]["Money per 1,000 ↓"] == UNKNOWN


def test_extra_tokens_are_beyond_the_undefended_target(own: Leaderboard) -> None:
    for entry in own.entries:
        entry.overhead.tokens = 100.0 if entry.defense == "undefended" else 145.0
    for (_, defense), row in cells(own).items():
        assert row["Extra tokens ↓"] == ("" if defense == "undefended" else "+45")
    own.entries[-1].overhead.tokens = None
    last = own.entries[-1]
    if own.undefended(last):
        assert cells(own)[last.target, last.defense]["Extra tokens ↓"] == UNKNOWN


def test_throughput_is_answers_over_all_time_and_latency_of_single_answers(
    own: Leaderboard,
) -> None:
    row = own.rows()[0]
    of_row = [each for each in own.entries if (each.target, each.defense) == row]
    for place, entry in enumerate(of_row):
        entry.samples, entry.overhead.throughput, entry.overhead.shared = 10, 2.0 + 2 * place, False
        entry.run.latency = tuple(0.1 * second + 10 * place for second in range(1, 21))
    seconds = sum(10 / (2 + 2 * place) for place in range(len(of_row)))
    shown = cells(own)[row]
    assert shown["Answers/s ↑"] == f"{10 * len(of_row) / seconds:.3g}"
    seconds_each = [each for entry in of_row for each in entry.run.latency or ()]
    half, most = (quantiles(seconds_each, n=20, method="inclusive")[at] for at in (9, 18))
    column = "Latency p50 / p95, s ↓"
    assert shown[column] == f"{half:.3g} / {most:.3g}\nn {20 * len(of_row)}"
    of_row[0].run.latency = None
    assert cells(own)[row][column] == UNKNOWN
    of_row[0].overhead.throughput = None
    assert cells(own)[row]["Answers/s ↑"] == UNKNOWN
