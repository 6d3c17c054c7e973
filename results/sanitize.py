"""Text out of logs, before it reaches a terminal, a CI server or a spreadsheet."""

import re
from typing import Final

# Control characters but for tab and line breaks, those that change the direction of writing, and
# halves of characters, which cannot be written to a file.
_STEERING: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
    r"|\r(?!\n)"
)


def clean(text: str) -> str:
    """Foreign text without characters that steer a terminal or turn the text around it.

    Args:
        text: A name or a sentence of a log; line breaks and tabs are kept.

    Returns:
        The text with a replacement sign for each of these characters.
    """
    return _STEERING.sub("\N{REPLACEMENT CHARACTER}", text)


def one_line(text: str) -> str:
    """Foreign text on one line, made harmless as by `clean`.

    Args:
        text: A name, an id or a message out of a log.

    Returns:
        The text, each run of white space as one blank.
    """
    return clean(" ".join(text.split()))


def escaped(text: str) -> str:
    """JSON in which the characters that `clean` replaces are written as numbers."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
