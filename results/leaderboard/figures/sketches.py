"""What each figure of a leaderboard will show, before it is drawn."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from vlmguard.results.leaderboard.figures import (
    attacks,
    categories,
    cost,
    frontier,
    gains,
    refusals,
)
from vlmguard.results.leaderboard.figures.looks import Drawn
from vlmguard.results.leaderboard.model import Leaderboard

__all__ = ["Sketch", "sketches_of"]

_PANELS: Final = 8
_LINES: Final = 42
"""So many fit on a page of a paper; what is more goes into the next figure."""

_Part = TypeVar("_Part")


@dataclass(frozen=True)
class Sketch:
    """A figure to be drawn.

    Attributes:
        parts: Its panels or maps: data alone.
        draw: Draws them, at a width in inches.
    """

    parts: Sequence[Any]
    draw: Callable[[Sequence[Any], float], Drawn]

    def drawn(self, width: float) -> Drawn:
        """The figure at a width."""
        return self.draw(self.parts, width)

    def described(self) -> str:
        """All that is drawn, as a text; equal texts give equal figures."""
        return f"{self.draw.__module__} {self.parts!r}"


def sketches_of(board: Leaderboard) -> dict[str, Sketch]:
    """All figures that the leaderboard has data for, by title."""
    found: dict[str, Sketch] = {}

    def add(
        name: str,
        parts: Sequence[_Part],
        draw: Callable[[Sequence[_Part], float], Drawn],
        size: Callable[[_Part], float],
    ) -> None:
        for number, page in enumerate(_pages(parts, size), start=1):
            found[name if number == 1 else f"{name}-{number}"] = Sketch(page, draw)

    def one(panel: object) -> float:
        return 1 / _PANELS

    def lines(part: gains.Gains | categories.Heat) -> float:
        return (len(part.rows) + 3) / _LINES

    add("frontier", frontier.find(board), frontier.draw, one)
    add("refusals", refusals.find(board), refusals.draw, one)
    add("attacks", attacks.find(board), attacks.draw, one)
    add("gains", gains.find(board), gains.draw, lines)
    add("categories", categories.find(board), categories.draw, lines)
    add("cost", cost.find(board), cost.draw, one)
    return found


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
