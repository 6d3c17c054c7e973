"""What the page shows of the figures, and their files."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from markupsafe import Markup

from vlmguard.results.leaderboard.figures.looks import DARK
from vlmguard.results.leaderboard.figures.pictures import Picture
from vlmguard.results.leaderboard.figures.svg import variable

__all__ = ["FIGURE_COLOURS", "Drawing", "Shown", "figure_files", "shown_figures"]

FIGURE_COLOURS: Final = [(variable(light), light, dark) for light, dark in DARK.items()]
"""The page's variables, with their colours on a light and on a dark page."""


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


def figure_files(wide: Mapping[str, Picture], narrow: Mapping[str, Picture]) -> dict[str, bytes]:
    """The files of figures: each in three formats, and for one column of a paper as PDF.

    Args:
        wide: Figures by title.
        narrow: Those that are others at the width of a column.
    """
    files = {
        f"{name}.{form}": content
        for name, picture in wide.items()
        for form, content in picture.files.items()
    }
    return files | {f"{name}-column.pdf": each.files["pdf"] for name, each in narrow.items()}


def shown_figures(wide: Mapping[str, Picture], narrow: Mapping[str, Picture]) -> list[Shown]:
    """The figures as the page's template takes them.

    Args:
        wide: Figures by title.
        narrow: Those that are others at the width of a column.
    """
    found = []
    for name, picture in wide.items():
        named = [f"{name}.{form}" for form in picture.files]
        named += [f"{name}-column.pdf"] if name in narrow else []
        if not picture.inline:
            image = base64.b64encode(picture.files["svg"]).decode()
            caption = name.replace("-", " ").capitalize()
            found.append(Shown(name, caption, named, source=f"data:image/svg+xml;base64,{image}"))
            continue
        drawings = [Drawing("wide", picture.inline)]
        if name in narrow:
            drawings.append(Drawing("narrow", narrow[name].inline))
        found.append(Shown(name, picture.caption, named, drawings))
    return found
