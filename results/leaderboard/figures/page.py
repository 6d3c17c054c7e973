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


def figure_files(pictures: Mapping[str, Picture]) -> dict[str, bytes]:
    """The files of figures by title: in three formats, and for one column of a paper as PDF."""
    files = {
        f"{name}.{form}": content
        for name, picture in pictures.items()
        for form, content in picture.files.items()
    }
    return files | {f"{name}-column.pdf": p.column for name, p in pictures.items() if p.column}


def shown_figures(pictures: Mapping[str, Picture]) -> list[Shown]:
    """The figures, by title, as the page's template takes them."""
    found = []
    for name, picture in pictures.items():
        named = [f"{name}.{form}" for form in picture.files]
        named += [f"{name}-column.pdf"] if picture.column else []
        if not picture.inline:
            image = base64.b64encode(picture.files["svg"]).decode()
            caption = name.replace("-", " ").capitalize()
            found.append(Shown(name, caption, named, source=f"data:image/svg+xml;base64,{image}"))
            continue
        drawings = [Drawing("wide", picture.inline)]
        drawings += [Drawing("narrow", picture.narrow)] if picture.narrow else []
        found.append(Shown(name, picture.caption, named, drawings))
    return found
