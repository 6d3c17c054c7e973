"""Unicode's normal forms, in a time that grows with the length of the text.

Python sorts the marks behind a letter by insertion, so 80,000 marks of two kinds in a row take
seconds. Unicode's stream-safe form has at most 30, of which no language needs more than a few.
"""

import unicodedata
from typing import Final, Literal

import regex

__all__ = ["normal_form"]

_TOO_MANY: Final = regex.compile(r"(?<=\p{M}{30})\p{M}+")


def normal_form(form: Literal["NFC", "NFKC", "NFKD"], text: str) -> str:
    """A text in a normal form, with at most 30 marks behind a letter."""
    if text.isascii():
        return text
    return unicodedata.normalize(form, _TOO_MANY.sub("", text))
