"""Safety against what the guard costs."""

import math
from collections.abc import Sequence
from typing import Final

from vlmguard.results.leaderboard.figures.frontier import SAFETY, is_known
from vlmguard.results.leaderboard.figures.looks import Drawn, looks_of
from vlmguard.results.leaderboard.figures.names import target_names
from vlmguard.results.leaderboard.figures.panels import Panel, corner, draw_panels, rows_of
from vlmguard.results.leaderboard.figures.scales import Reach, Scale, reach_of
from vlmguard.results.leaderboard.figures.spots import Spot
from vlmguard.results.leaderboard.model import UNDEFENDED_LABEL, Entry, Leaderboard

__all__ = ["draw", "find"]

_CAPTION: Final = (
    "Safety against what a sample costs, the judge left out. Upper left is best. Bars: 95 % "
    "intervals of safety."
)


def find(board: Leaderboard) -> list[Panel]:
    """A panel for each target and benchmark: latency if all runs have it, else calls."""
    timed = all(each.overhead.latency is not None for each in board.entries)
    label = "latency, s ↓" if timed else "calls a sample ↓"
    spent_on = Scale(label, 0, math.nan, digits=2 if timed else 1, fixed=True, better=-1)

    def spent(entry: Entry) -> float | None:
        return entry.overhead.latency if timed else entry.overhead.calls

    looks, names = looks_of(board), target_names(board)
    panels = []
    for target, short in names.items():
        for group in board.groups:
            rows = [e for e in rows_of(board, group, target) if is_known(e, "safety")]
            spots = [
                Spot(
                    entry.defense,
                    looks[entry.defense],
                    Reach(found),
                    reach_of(*_numbers(entry)),
                    entry.defense == UNDEFENDED_LABEL,
                    # All controls cost little, so that none is far away.
                    False,
                )
                for entry in rows
                if (found := spent(entry)) is not None
            ]
            unknown = [entry.defense for entry in rows if spent(entry) is None]
            said = [f"Cost not known, not drawn: {', '.join(unknown)}."] if unknown else []
            if spots:
                panels.append(Panel(short, group.title, spots, spent_on, SAFETY, said, group.title))
    return panels


def draw(panels: Sequence[Panel], width: float) -> Drawn:
    """The panels as a figure."""
    return draw_panels(panels, width, _CAPTION, [], lambda axis, of: corner(axis, of.x, of.y))


def _numbers(entry: Entry) -> tuple[float, float, float]:
    cell = entry.cells["safety"]
    return cell.mean, cell.low, cell.high
