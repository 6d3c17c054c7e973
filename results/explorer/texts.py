"""Foreign texts as pages show them: no pictures in them, no secrets of ours, not endless."""

import re
from typing import Final

from vlmguard.results.sanitize import clean

__all__ = ["shown_text"]

_LONGEST: Final = 20_000
# Long lines of it may follow one another.
_MORE: Final = r"(?:\r?\n[A-Za-z0-9+/_-]{16,}={0,2})*"
_DATA_URI: Final = re.compile(
    r"data:[\w.+-]+/[\w.+-]+(?:;[\w=.-]+)*;base64,[A-Za-z0-9+/=_%-]*" + _MORE
)
# How base64 of PNG, JPEG, GIF, WebP, BMP, TIFF, SVG and AVIF begins.
_PICTURE: Final = re.compile(
    r"(?<![A-Za-z0-9+/])(?:iVBORw0KGgo|/9j/|R0lGOD|UklGR|Qk[0-3]|SUkqA|TU0AK|PHN2Zy|AAAA[A-Za-z0-9+/]"
    r"{2,8}Z0eX)[A-Za-z0-9+/_-]{40,}={0,2}" + _MORE
)


def shown_text(text: str) -> str:
    """A text of a log, without the bytes of pictures; what was cut is said in its place."""
    told = _DATA_URI.sub(lambda found: f"[data left out: {len(found[0])} characters]", text)
    told = _PICTURE.sub(lambda found: f"[picture left out: {len(found[0])} characters]", told)
    if len(told) > _LONGEST:
        told = f"{told[:_LONGEST]} [{len(told) - _LONGEST} more characters are in the log]"
    return clean(told)
