"""Cleans text of logs before it reaches a terminal, a CI server or a spreadsheet."""

import re
from typing import Final

# Control characters except tab and line breaks, characters that change the direction of writing,
# and halves of characters, which cannot be written to a file.
_STEERING: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
    r"|\r(?!\n)"
)


def clean(text: str) -> str:
    """Foreign text with a replacement sign for characters that control a terminal or reverse text.

    Line breaks and tabs are kept.
    """
    return _STEERING.sub("\N{REPLACEMENT CHARACTER}", text)


def one_line(text: str) -> str:
    """Foreign text on one line, cleaned; each run of white space becomes one blank."""
    return clean(" ".join(text.split()))


def escaped(text: str) -> str:
    """JSON with number escapes for the characters that `clean` replaces."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
