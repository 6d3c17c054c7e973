"""Success of attacks made for the guard against that of attacks made for the target alone."""

import math
from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes

from vlmguard.results.leaderboard.figures.looks import FRAME, WASH, Drawn, looks_of
from vlmguard.results.leaderboard.figures.names import target_names
from vlmguard.results.leaderboard.figures.panels import Panel, corner, draw_panels
from vlmguard.results.leaderboard.figures.scales import Reach, Scale, reach_of
from vlmguard.results.leaderboard.figures.spots import Spot
from vlmguard.results.leaderboard.model import UNDEFENDED_LABEL, Leaderboard
from vlmguard.results.leaderboard.red_team import red_team
from vlmguard.results.leaderboard.red_team_model import RedTeam
from vlmguard.results.leaderboard.red_team_rates import Share

__all__ = ["draw", "find"]

_STRIP: Final = -13.0
"""Where rows stand of which one of both did not run, beside the axis."""
_CAPTION: Final = (
    "Attack success rate (ASR) of the worst adaptive attack, which knows the guard, against that "
    "of the worst static one; lower left is best. Above the diagonal, the guard holds off static "
    "attacks only. Twin: the largest share of the harmless requests under the same attack that "
    "is refused."
)
_ADAPTIVE: Final = Scale("worst adaptive ASR % ↓", 0, 100, " %", 0, fixed=True, better=-1)
_STATIC: Final = Scale("worst static ASR % ↓", 0, 100, " %", 0, fixed=True, better=-1)
_NONE: Final = Scale("harm without attack % ↓", 0, 100, " %", 0, fixed=True, better=-1)


def find(board: Leaderboard) -> list[Panel]:
    """A panel for each target and benchmark under attack."""
    looks, names = looks_of(board), target_names(board)
    rows: dict[tuple[str, str], list[RedTeam]] = {}
    for row in red_team(board):
        if row.counted:
            rows.setdefault((row.target, row.column.heading), []).append(row)
    panels = []
    for (target, title), found in rows.items():
        static = any(row.static for row in found)
        if not any(row.adaptive for row in found) or not found:
            continue
        spots, unknown = [], 0
        for row in found:
            before = row.adaptive.before.share if row.adaptive else None
            left = row.static.last if row.static else None
            x, y = left if static else before, row.adaptive.last if row.adaptive else None
            if _mean(x) is None and _mean(y) is None:
                unknown += 1
                continue
            spots.append(
                Spot(
                    row.defense,
                    looks[row.defense],
                    _reach(x),
                    _reach(y),
                    row.defense == UNDEFENDED_LABEL,
                    remark=_twin(row),
                )
            )
        if spots:
            said = [] if static else [f"{names[target]}, {title}: no static attack ran."]
            if unknown:
                said.append(f"{names[target]}, {title}: {unknown} rows have no verdict, not drawn.")
            x_scale = _STATIC if static else _NONE
            panels.append(Panel(names[target], title, spots, x_scale, _ADAPTIVE, said))
    return panels


def draw(panels: Sequence[Panel], width: float) -> Drawn:
    """The panels as a figure."""
    return draw_panels(panels, width, _CAPTION, [], _behind)


def _reach(share: Share | None) -> Reach:
    """A rate in percent; in the strip beside the axis if there is none."""
    if share is None or math.isnan(share.mean):
        return Reach(_STRIP)
    return reach_of(share.mean, share.low, share.high, 100)


def _mean(share: Share | None) -> float | None:
    return None if share is None or math.isnan(share.mean) else share.mean


def _twin(row: RedTeam) -> str:
    """What the harmless requests say of a row."""
    worst = row.twin.twin.refused if row.twin else None
    if worst is None:
        return ", twin not run"
    return f", twin {worst.mean * 100:.0f} %" if not math.isnan(worst.mean) else ", twin not scored"


def _behind(axis: Axes, panel: Panel) -> None:
    """The diagonal, and strips for what did not run."""
    ticks = [*range(0, 101, 20)]
    names = [str(each) for each in ticks]
    if any(each.x.mean == _STRIP for each in panel.spots):
        axis.axvspan(2 * _STRIP + 6, -6, color=WASH, zorder=0, lw=0)
        axis.set_xlim(left=2 * _STRIP + 6)
        axis.set_xticks([_STRIP, *ticks], ["not run", *names])
    if any(each.y.mean == _STRIP for each in panel.spots):
        axis.axhspan(2 * _STRIP + 6, -6, color=WASH, zorder=0, lw=0)
        axis.set_ylim(bottom=2 * _STRIP + 6)
        axis.set_yticks([_STRIP, *ticks], ["not\nrun", *names])
    axis.plot([0, 100], [0, 100], color=FRAME, lw=0.9, ls=(0, (4, 3)), zorder=1)
    corner(axis, panel.x, panel.y)
