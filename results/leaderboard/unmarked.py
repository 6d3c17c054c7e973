"""Why a difference carries no mark, in words: a large one without a mark must not be guessed at."""

import math

from vlmguard.results.leaderboard.comparisons import ALPHA
from vlmguard.results.leaderboard.model import Entry, Leaderboard
from vlmguard.results.logs.measures import Measure, said_p

__all__ = ["NO_INTERVAL", "why_unmarked"]

NO_INTERVAL = "no interval: fewer than ten images"


def why_unmarked(board: Leaderboard, entry: Entry, measure: Measure) -> str:
    """Why a row's difference to the undefended target is marked neither better nor worse.

    Args:
        board: The leaderboard.
        entry: A run in it.
        measure: One of its measures.

    Returns:
        A few words (`not tested (control)`, `p = 0.210 after correction`); empty where there is a
        mark, or no difference.
    """
    cell = entry.cells[measure.name]
    if cell.difference is None or cell.verdict:
        return ""
    if board.is_control(entry.defense):
        return "not tested (control)"
    if not measure.better:
        return "not tested (the measure has no direction)"
    if not measure.is_tested:
        return "not tested (not a measure of the main table)"
    if math.isnan(cell.p):
        return "not tested (no sample differs)"
    if cell.p >= ALPHA:
        return f"{said_p(cell.p)} after correction"
    return f"the interval reaches zero ({said_p(cell.p)} after correction)"
