"""Figures of the leaderboard: colour-blind safe, with distinct shapes too, readable in print."""

from dataclasses import dataclass

from matplotlib import rc_context

from vlmguard.results.leaderboard.figures.looks import COLUMN, PAGE, STYLE, Drawn, as_bytes
from vlmguard.results.leaderboard.figures.sketches import sketches_of
from vlmguard.results.leaderboard.model import Leaderboard

__all__ = ["COLUMN", "PAGE", "Drawn", "Figures", "all_figures", "as_bytes", "figures"]


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
    with rc_context(STYLE):
        return {title: sketch.drawn(PAGE) for title, sketch in sketches_of(board).items()}


def all_figures(board: Leaderboard) -> Figures:
    """Draw all figures for both widths."""
    page = figures(board)
    with rc_context(STYLE):
        column = {
            title: sketch.drawn(COLUMN)
            for title, sketch in sketches_of(board).items()
            if page[title].get_figwidth() > COLUMN
        }
    return Figures(page, column)
