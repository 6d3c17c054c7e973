"""Finds texts that count as the same, for duplicates and for leaks."""

import re
import unicodedata
from functools import lru_cache
from typing import Final

NEAR_TEXT: Final = 0.9
"""Two texts with this share of common words (Jaccard) or more are near-duplicates."""

_ASCII_REST: Final = re.compile(r"[^a-z0-9]+")
# Texts in scripts without spaces between words are compared by pairs of characters.
_UNSPACED: Final = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


def normalise_text(text: str) -> str:
    """Compatibility form, case folded, letters and digits only, single spaces."""
    if text.isascii():
        # The same result, several times as fast.
        return _ASCII_REST.sub(" ", text.lower()).strip()
    plain = unicodedata.normalize("NFKC", text).casefold()
    kept = (char if char.isalnum() or unicodedata.combining(char) else " " for char in plain)
    return " ".join("".join(kept).split())


@lru_cache(maxsize=50_000)
def words(text: str) -> tuple[str, ...]:
    """The normalised words of a text in order; pairs of characters in scripts without spaces."""
    found: list[str] = []
    for word in normalise_text(text).split():
        if _UNSPACED.fullmatch(word) and len(word) > 1:
            found.extend(word[index : index + 2] for index in range(len(word) - 1))
        else:
            found.append(word)
    return tuple(found)


def similarity(first: str, second: str) -> float:
    """Share of common words (Jaccard) of two texts, 0 to 1; 1 for two texts without words."""
    one, two = set(words(first)), set(words(second))
    return len(one & two) / len(one | two) if one | two else 1.0
