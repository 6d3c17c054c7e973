"""Figures as files and as elements of a page, drawn for both widths."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from vlmguard.results.leaderboard.figures.looks import COLUMN, PAGE, STYLE, Drawn, as_bytes
from vlmguard.results.leaderboard.figures.sketches import Sketch
from vlmguard.results.leaderboard.figures.svg import inline_svg

__all__ = ["Picture", "drawn", "packed", "picture_of", "unpacked"]

_FORMS: Final = ("svg", "png", "pdf")


@dataclass(frozen=True)
class Picture:
    """A figure as a user gets it.

    Attributes:
        files: Its files by format.
        caption: How it is read; empty of a figure of others.
        inline: As an element of a page; empty of a figure of others.
        column: The PDF for one of two columns; empty if the figure is as narrow as that.
        narrow: The same as an element, for telephones.
    """

    files: Mapping[str, bytes]
    caption: str = ""
    inline: Markup = field(default_factory=Markup)
    column: bytes = b""
    narrow: Markup = field(default_factory=Markup)


def drawn(sketch: Sketch, number: int) -> Picture:
    """Draw a figure for both widths.

    Args:
        sketch: What it shows.
        number: Its own among those of a page.
    """
    with rc_context(STYLE):
        wide = sketch.drawn(PAGE)
        picture = picture_of(wide, f"f{number}-")
        if wide.get_figwidth() <= COLUMN:
            return picture
        slim = sketch.drawn(COLUMN)
        narrow = inline_svg(as_bytes(slim, "svg"), slim.alt, f"n{number}-")
    pdf = as_bytes(slim, "pdf")
    return Picture(picture.files, picture.caption, picture.inline, pdf, narrow)


def picture_of(figure: Figure, prefix: str) -> Picture:
    """A figure as files; one of ours is an element of a page too.

    Args:
        figure: The figure.
        prefix: In front of the ids of its element, which no other element of the page may have.
    """
    files = {form: as_bytes(figure, form) for form in _FORMS}
    if not isinstance(figure, Drawn):
        return Picture(files)
    return Picture(files, figure.caption, inline_svg(files["svg"], figure.alt, prefix))


def packed(picture: Picture, known: str) -> bytes:
    """A figure as bytes.

    Args:
        picture: The figure.
        known: What tells it from all others.
    """
    parts = {
        **picture.files,
        "inline": str(picture.inline).encode(),
        "column": picture.column,
        "narrow": str(picture.narrow).encode(),
    }
    body = b"".join(parts.values())
    head = {
        "of": known,
        "digest": hashlib.sha256(body).hexdigest(),
        "sizes": {name: len(part) for name, part in parts.items()},
        "caption": picture.caption,
    }
    return json.dumps(head).encode() + b"\n" + body


def unpacked(content: bytes, known: str) -> Picture | None:
    """What `packed` was given; None of damaged bytes, or of another figure's."""
    line, _, body = content.partition(b"\n")
    try:
        head = json.loads(line)
        if head["of"] != known or head["digest"] != hashlib.sha256(body).hexdigest():
            return None
        parts, start = dict[str, bytes](), 0
        for name, size in head["sizes"].items():
            parts[name] = body[start : start + size]
            start += size
        inline, column, narrow = (parts.pop(name) for name in ("inline", "column", "narrow"))
        return Picture(
            parts, head["caption"], Markup(inline.decode()), column, Markup(narrow.decode())
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
