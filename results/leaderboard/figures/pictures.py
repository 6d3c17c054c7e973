"""Figures as files and as elements of a page: drawn once, then found in the cache.

Drawing takes most of the time of a leaderboard, and equal data give equal figures. A figure is
known by all that is drawn: its data to the last digit, its width, the settings of matplotlib, and
the files of this package.
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import matplotlib
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from vlmguard.results.leaderboard.figures.looks import (
    COLUMN,
    PAGE,
    STYLE,
    Drawn,
    as_bytes,
)
from vlmguard.results.leaderboard.figures.sketches import Sketch
from vlmguard.results.leaderboard.figures.svg import inline_svg
from vlmguard.results.logs.cache_folder import CacheFolder, cache_folder
from vlmguard.results.logs.kept import source_digest

__all__ = ["Picture", "Pictures", "picture_of", "pictures_of"]

_WIDE: Final = ("svg", "png", "pdf")
_NARROW: Final = ("pdf",)


@dataclass(frozen=True)
class Picture:
    """A figure as a user gets it.

    Attributes:
        files: Its files by format.
        width: Its width in inches.
        caption: How it is read; empty of a figure of others.
        inline: As an element of a page; empty of a figure of others.
    """

    files: Mapping[str, bytes]
    width: float
    caption: str = ""
    inline: Markup = field(default_factory=Markup)


@dataclass(frozen=True)
class Pictures:
    """The figures of a leaderboard by title.

    Attributes:
        wide: For a whole page.
        narrow: For one of two columns, where that is another figure.
    """

    wide: dict[str, Picture]
    narrow: dict[str, Picture]


def pictures_of(sketches: Mapping[str, Sketch]) -> Pictures:
    """All figures of a leaderboard for both widths, drawn or from the cache."""
    made = Pictures({}, {})
    cache = cache_folder()
    for number, (title, sketch) in enumerate(sketches.items()):
        made.wide[title] = wide = _picture(sketch, PAGE, f"f{number}-", _WIDE, cache)
        if wide.width > COLUMN:
            made.narrow[title] = _picture(sketch, COLUMN, f"n{number}-", _NARROW, cache)
    if cache:
        cache.tidy()
    return made


def picture_of(figure: Figure, prefix: str = "", forms: tuple[str, ...] = _WIDE) -> Picture:
    """A figure as files; one of ours is an element of a page too.

    Args:
        figure: The figure.
        prefix: In front of the ids of its element, which no other element of the page may have.
        forms: The formats of its files.
    """
    files = {form: as_bytes(figure, form) for form in forms}
    width = figure.get_figwidth()
    if not isinstance(figure, Drawn):
        return Picture(files, width)
    image = files["svg"] if "svg" in files else as_bytes(figure, "svg")
    return Picture(files, width, figure.caption, inline_svg(image, figure.alt, prefix))


def _picture(
    sketch: Sketch, width: float, prefix: str, forms: tuple[str, ...], cache: CacheFolder | None
) -> Picture:
    facts = [sketch.described(), width, prefix, forms, _drawn_by()]
    known = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    name = f"figure-{known[:40]}"
    content = cache.read(name) if cache else None
    found = _unpacked(content, known) if content else None
    if found is None:
        with rc_context(STYLE):
            found = picture_of(sketch.drawn(width), prefix, forms)
        if cache:
            # That a cache cannot be written was said when the logs were read.
            with contextlib.suppress(OSError):
                cache.write(name, _packed(found, known))
    return found


@lru_cache(maxsize=1)
def _drawn_by() -> list[str]:
    """What decides, beside the data, how a figure looks."""
    # A user's matplotlibrc may set what our style leaves open.
    return [source_digest(), matplotlib.__version__, repr(sorted(matplotlib.rcParams.items()))]


def _packed(picture: Picture, known: str) -> bytes:
    parts = {**picture.files, "inline": str(picture.inline).encode()}
    body = b"".join(parts.values())
    head = {
        "of": known,
        "digest": hashlib.sha256(body).hexdigest(),
        "sizes": {name: len(part) for name, part in parts.items()},
        "width": picture.width,
        "caption": picture.caption,
    }
    return json.dumps(head).encode() + b"\n" + body


def _unpacked(content: bytes, known: str) -> Picture | None:
    """What `_packed` was given; None of damaged bytes, or of another figure's."""
    line, _, body = content.partition(b"\n")
    try:
        head = json.loads(line)
        if head["of"] != known or head["digest"] != hashlib.sha256(body).hexdigest():
            return None
        parts, start = dict[str, bytes](), 0
        for name, size in head["sizes"].items():
            parts[name] = body[start : start + size]
            start += size
        inline = Markup(parts.pop("inline").decode())
        return Picture(parts, head["width"], head["caption"], inline)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
