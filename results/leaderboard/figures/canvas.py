"""A figure whose parts are placed in inches from its upper left corner, so that it can grow."""

from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from vlmguard.results.leaderboard.figures.looks import INK, SMALL, SOFT, Drawn
from vlmguard.results.leaderboard.figures.names import size_of, wrapped
from vlmguard.results.sanitize import clean, one_line

__all__ = ["EDGE", "LINE", "Canvas"]

EDGE: Final = 0.06
"""Free space at the borders, in inches."""
LINE: Final = SMALL * 1.3 / 72
"""Height of a line of small letters, in inches."""


class Canvas:
    """A figure in the making.

    Attributes:
        figure: The figure.
        width: Its width in inches.
        height: Its height, which notes add to.
    """

    def __init__(self, width: float, height: float) -> None:
        """Start a figure of that many inches."""
        self.figure = Drawn(figsize=(width, height))
        FigureCanvasAgg(self.figure)
        self.width = width
        self.height = height
        self._axes: list[tuple[Axes, tuple[float, float, float, float]]] = []
        self._texts: list[tuple[Text, float]] = []

    def axis(self, left: float, top: float, width: float, height: float) -> Axes:
        """An axis whose frame is there."""
        axis = self.figure.add_axes((0, 0, 1, 1))
        self._axes.append((axis, (left, top, width, height)))
        self._settle()
        return axis

    def text(self, left: float, top: float, text: str, **looks: Any) -> None:
        """A text that begins there, or as `ha` says."""
        chosen: dict[str, Any] = {"size": SMALL, "va": "top", "color": INK} | looks
        self._texts.append((self.figure.text(left / self.width, 0, text, **chosen), top))

    def notes(self, sentences: list[str]) -> None:
        """Sentences below everything, each on lines of its own."""
        for sentence in sentences:
            for line in wrapped(sentence, (self.width - 2 * EDGE) * 72 - 2):
                self.text(EDGE, self.height, line, color=SOFT)
                self.height += LINE
        self.height += EDGE

    def heading(self, left: float, top: float, lines: tuple[str, str], width: float) -> None:
        """A bold line and one below it, cut to a width."""
        first, second = (one_line(line) for line in lines)
        self.text(left, top, _fitting(first, width, "bold"), weight="bold")
        self.text(left, top + LINE, _fitting(second, width, "normal"))

    def finish(self, alt: str, caption: str) -> Drawn:
        """The figure with its words."""
        self._settle()
        self.figure.alt, self.figure.caption = clean(alt), caption
        return self.figure

    def _settle(self) -> None:
        self.figure.set_size_inches(self.width, self.height)
        for axis, (left, top, width, height) in self._axes:
            bottom = self.height - top - height
            axis.set_position(
                (
                    left / self.width,
                    bottom / self.height,
                    width / self.width,
                    height / self.height,
                )
            )
        for text, top in self._texts:
            text.set_y(1 - top / self.height)


def _fitting(line: str, inches: float, weight: str) -> str:
    if size_of(line, SMALL, weight)[0] <= inches * 72:
        return line
    while len(line) > 1 and size_of(line + "…", SMALL, weight)[0] > inches * 72:
        line = line[:-1]
    return line.rstrip() + "…"
