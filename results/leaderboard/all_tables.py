"""All tables of the full layout, but the main one."""

from dataclasses import replace

from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.leaderboard.beside_tables import beside_sheet, counts_sheet
from vlmguard.results.leaderboard.field import field_sheet
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.red_team_tables import red_team_sheets
from vlmguard.results.leaderboard.slices import slice_sheets
from vlmguard.results.leaderboard.tables import (
    coverage_sheets,
    duel_sheet,
    gain_sheet,
    group_sheets,
    overhead_sheet,
)

__all__ = ["attacked_sheets", "board_sheets"]


def board_sheets(board: Leaderboard) -> list[Sheet]:
    """All tables of the full layout except the main one, which is too wide for terminals.

    Returns:
        What each defense brings and costs, harm beside harmless requests, what attacks achieve, a
        table for each benchmark, what was scored, the best row against the others, slices if there
        are any, cost, gains; then the same of each benchmark under each attack.
    """
    return [
        field_sheet(board),
        beside_sheet(board),
        *red_team_sheets(board),
        *group_sheets(board),
        counts_sheet(board),
        *coverage_sheets(board),
        duel_sheet(board),
        *slice_sheets(board),
        overhead_sheet(board),
        gain_sheet(board),
        *attacked_sheets(board),
    ]


def attacked_sheets(board: Leaderboard) -> list[Sheet]:
    """A table for each benchmark under each attack, what was scored there, and the costs."""
    if board.attacked is None:
        return []
    counted, costs = counts_sheet(board.attacked), overhead_sheet(board.attacked)
    return [
        *group_sheets(board.attacked),
        replace(counted, title=f"{counted.title}, under attack"),
        *coverage_sheets(board.attacked),
        *slice_sheets(board.attacked),
        replace(costs, title=f"{costs.title}, under attack"),
    ]
