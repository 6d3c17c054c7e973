"""What the page shows of the figures, and their files."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from markupsafe import Markup
from matplotlib.figure import Figure

from vlmguard.results.leaderboard.figures.looks import DARK, Drawn, as_bytes
from vlmguard.results.leaderboard.figures.svg import inline_svg, variable

__all__ = ["FIGURE_COLOURS", "Drawing", "Shown", "figure_files", "shown_figures"]

FIGURE_COLOURS: Final = [(variable(light), light, dark) for light, dark in DARK.items()]
"""The page's variables, with their colours on a light and on a dark page."""
_FORMS: Final = ("svg", "png", "pdf")


@dataclass(frozen=True)
class Drawing:
    """A figure at one width: `wide`, or `narrow` for telephones."""

    name: str
    svg: Markup


@dataclass(frozen=True)
class Shown:
    """A figure on the page.

    Attributes:
        name: Its title, which is also that of its files.
        caption: How it is read.
        files: Its files, beside the page.
        drawings: In our looks, which follow the page's theme.
        source: A figure of others as an image, on white in both themes; empty of ours.
    """

    name: str
    caption: str
    files: list[str]
    drawings: list[Drawing] = field(default_factory=list)
    source: str = ""


def figure_files(wide: Mapping[str, Figure], narrow: Mapping[str, Figure]) -> dict[str, bytes]:
    """The files of figures: each in three formats, and for one column of a paper as PDF.

    Args:
        wide: Figures by title.
        narrow: Those that are others at the width of a column.
    """
    files = {
        f"{name}.{form}": as_bytes(figure, form) for name, figure in wide.items() for form in _FORMS
    }
    return files | {f"{name}-column.pdf": as_bytes(each, "pdf") for name, each in narrow.items()}


def shown_figures(
    wide: Mapping[str, Figure], narrow: Mapping[str, Figure], files: Mapping[str, bytes]
) -> list[Shown]:
    """The figures as the page's template takes them.

    Args:
        wide: Figures by title.
        narrow: Those that are others at the width of a column.
        files: Their files.
    """
    found = []
    for number, (name, figure) in enumerate(wide.items()):
        named = [f"{name}.{form}" for form in _FORMS]
        named += [f"{name}-column.pdf"] if name in narrow else []
        image = files[f"{name}.svg"]
        if not isinstance(figure, Drawn):
            source = f"data:image/svg+xml;base64,{base64.b64encode(image).decode()}"
            caption = name.replace("-", " ").capitalize()
            found.append(Shown(name, caption, named, source=source))
            continue
        drawings = [Drawing("wide", inline_svg(image, figure.alt, f"f{number}-"))]
        slim = narrow.get(name)
        if isinstance(slim, Drawn):
            drawn = inline_svg(as_bytes(slim, "svg"), slim.alt, f"n{number}-")
            drawings.append(Drawing("narrow", drawn))
        found.append(Shown(name, figure.caption, named, drawings))
    return found
