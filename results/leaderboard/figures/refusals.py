"""Safety of the harm set against needless refusals of the harmless requests beside it."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

from vlmguard.results.leaderboard.figures.looks import Drawn, Look, looks_of
from vlmguard.results.leaderboard.figures.names import target_names
from vlmguard.results.leaderboard.figures.panels import Panel, corner, draw_panels
from vlmguard.results.leaderboard.figures.scales import Reach, Scale, reach_of
from vlmguard.results.leaderboard.figures.spots import Spot
from vlmguard.results.leaderboard.model import UNDEFENDED_LABEL, Beside, Group, Leaderboard
from vlmguard.results.logs.measures import Measure, is_refusal

__all__ = ["draw", "find"]

_CAPTION: Final = (
    "What a defense makes safe against what it refuses of harmless requests, with 95 % intervals. "
    "Upper left is best."
)
_SAFETY: Final = "safety"
_OF_ALL: Final = "harmless and risky requests"


def find(board: Leaderboard) -> list[Panel]:
    """A panel for each target and harm set whose harmless requests have a rate of refusals."""
    looks, names = looks_of(board), target_names(board)
    rows: dict[tuple[str, Group, Group], list[Beside]] = {}
    alone: Counter[tuple[str, Group]] = Counter()
    for each in board.beside:
        if each.group is None:
            continue
        if each.partner is None or _needless(each.partner) is None:
            alone[each.target, each.group] += 1
        else:
            rows.setdefault((each.target, each.group, each.partner), []).append(each)
    panels = []
    for (target, group, partner), found in rows.items():
        harm, needless = _harm(group, found[0].measure), _needless(partner)
        spots = [
            spot
            for each in found
            if harm is not None
            and needless is not None
            and (spot := _spot(board, each, harm, needless, looks)) is not None
        ]
        missing = alone[target, group] + len(found) - len(spots)
        if harm is None or needless is None or not spots:
            continue
        of = f"of {_OF_ALL}" if partner is group else f"beside {partner.title}"
        said = (
            [
                f"{names[target]}, {group.title}: {missing} more rows have no harmless "
                "partner run or no verdict there, and are not drawn."
            ]
            if missing
            else []
        )
        panels.append(
            Panel(
                names[target],
                f"{group.title}, {of}",
                spots,
                _scale(needless, 10.0),
                _scale(harm, 0.2 * harm.highest * (100 if harm.is_share else 1)),
                said,
                f"{group.title} {partner.title}",
            )
        )
    return panels


def draw(panels: Sequence[Panel], width: float) -> Drawn:
    """The panels as a figure."""
    return draw_panels(panels, width, _CAPTION, [], lambda axis, of: corner(axis, of.x, of.y))


def _spot(
    board: Leaderboard, each: Beside, harm: Measure, needless: Measure, looks: dict[str, Look]
) -> Spot | None:
    """A row, if both of its numbers are known."""
    assert each.group is not None
    assert each.partner is not None
    risky = board.find(each.target, each.defense, each.group)
    harmless = board.find(each.target, each.defense, each.partner)
    if risky is None or harmless is None:
        return None
    y, x = risky.cells.get(harm.name), harmless.cells.get(needless.name)
    if x is None or y is None or math.isnan(x.mean) or math.isnan(y.mean):
        return None
    return Spot(
        each.defense,
        looks[each.defense],
        _reach(x.mean, x.low, x.high, needless),
        _reach(y.mean, y.low, y.high, harm),
        each.defense == UNDEFENDED_LABEL,
        board.is_control(each.defense),
    )


def _harm(group: Group, named: str) -> Measure | None:
    """Safety if it is graded, as people know it; else the measure of the harm set."""
    return group.by_name.get(_SAFETY) or group.by_name.get(named)


def _needless(partner: Group) -> Measure | None:
    """The share of needless refusals among harmless requests: less of it is better."""
    known = [each for each in partner.measures if is_refusal(each) and each.better < 0]
    return next((each for each in known if each.is_share), None)


def _reach(mean: float, low: float, high: float, measure: Measure) -> Reach:
    return reach_of(mean, low, high, 100 if measure.is_share else 1)


def _scale(measure: Measure, span: float) -> Scale:
    factor = 100 if measure.is_share else 1
    highest = measure.range * factor
    label = measure.heading[:1].lower() + measure.heading[1:]
    if label[:3].isupper() or measure.heading[1:2].isupper():
        label = measure.heading
    return Scale(
        label,
        0,
        highest,
        " %" if measure.is_share else "",
        digits=0 if measure.is_share else 1,
        span=span,
        better=measure.better or 1,
    )
