"""Figures of the leaderboard: colour-blind safe, with distinct shapes too, readable in print."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from matplotlib import rc_context

from vlmguard.results.leaderboard.figures import (
    attacks,
    categories,
    cost,
    frontier,
    gains,
    refusals,
)
from vlmguard.results.leaderboard.figures.looks import COLUMN, PAGE, STYLE, Drawn, as_bytes
from vlmguard.results.leaderboard.model import Leaderboard

__all__ = ["COLUMN", "PAGE", "Drawn", "Figures", "all_figures", "as_bytes", "figures"]

_PANELS: Final = 8
_LINES: Final = 42
"""So many fit on a page of a paper; what is more goes into the next figure."""

_Part = TypeVar("_Part")


@dataclass(frozen=True)
class Figures:
    """The figures of a leaderboard by title, each for two widths of paper.

    Attributes:
        page: For a whole page.
        column: For one of two columns, where that is another figure.
    """

    page: dict[str, Drawn]
    column: dict[str, Drawn]


def figures(board: Leaderboard) -> dict[str, Drawn]:
    """Draw all figures that the leaderboard has data for, by title."""
    return _drawn(board, columns=False).page


def all_figures(board: Leaderboard) -> Figures:
    """Draw all figures for both widths."""
    return _drawn(board, columns=True)


def _drawn(board: Leaderboard, columns: bool) -> Figures:
    drawn = Figures({}, {})

    def add(
        name: str,
        parts: Sequence[_Part],
        draw: Callable[[Sequence[_Part], float], Drawn],
        size: Callable[[_Part], float],
    ) -> None:
        for number, page in enumerate(_pages(parts, size), start=1):
            title = name if number == 1 else f"{name}-{number}"
            drawn.page[title] = wide = draw(page, PAGE)
            if columns and wide.get_figwidth() > COLUMN:
                drawn.column[title] = draw(page, COLUMN)

    def one(panel: object) -> float:
        return 1 / _PANELS

    def lines(part: gains.Gains | categories.Heat) -> float:
        return (len(part.rows) + 3) / _LINES

    with rc_context(STYLE):
        add("frontier", frontier.find(board), frontier.draw, one)
        add("refusals", refusals.find(board), refusals.draw, one)
        add("attacks", attacks.find(board), attacks.draw, one)
        add("gains", gains.find(board), gains.draw, lines)
        add("categories", categories.find(board), categories.draw, lines)
        add("cost", cost.find(board), cost.draw, one)
    return drawn


def _pages(parts: Sequence[_Part], size: Callable[[_Part], float]) -> Iterator[list[_Part]]:
    """Parts in the order they have, as many as fit on a page, and at least one."""
    page: list[_Part] = []
    for part in parts:
        if page and sum(map(size, page)) + size(part) > 1 + 1e-9:
            yield page
            page = []
        page.append(part)
    if page:
        yield page
