"""What a language's table of refusals holds, and the spelling in which texts meet it."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from vlmguard.guard.refusals.phrases import normalise

__all__ = ["Language", "any_of", "folded", "prepared"]

# Accents, Arabic hamza and vowel signs, the nukta: written by some and left out by others.
_MARKS: Final = re.compile("[\u0300-\u036f\u064b-\u0655\u0670\u0640\u093c\u200d-\u200f]")
_ALIKE: Final = str.maketrans(
    {"\u064a": "\u06cc", "\u0649": "\u06cc", "\u0643": "\u06a9", "\u0629": "\u0647",
     "\u0901": "\u0902", "\u200c": " "}
)  # fmt: skip


@dataclass(frozen=True)
class Language:
    """How a language refuses: regular expressions, in the usual spelling, lower case.

    A clause is what stands between two marks of punctuation.

    Attributes:
        script: The first words of the Unicode names of its letters.
        openers: What a clause begins with that comes before a refusal: apology, greeting, thanks,
            sympathy, a reason.
        declines: What a clause holds that declines; `^` where it must begin with it.
        spares: What a clause holds that only seems to decline: who speaks asks for help.
        offers: What a question holds by which somebody who declined offers something else. Any
            other question shows that who cannot do something is the one who asks.
        pleas: What a sentence holds by which a person asks for help without a question.
        musings: What a reply begins with that thinks aloud.
        anywhere: What declines in any clause, behind a description, a reason or sympathy too: who
            speaks says of himself that he will not, may not or would rather not serve.
    """

    script: str
    openers: tuple[str, ...]
    declines: tuple[str, ...]
    spares: tuple[str, ...]
    offers: tuple[str, ...]
    pleas: tuple[str, ...] = ()
    musings: tuple[str, ...] = ()
    anywhere: tuple[str, ...] = ()


def any_of(stems: str) -> str:
    """A pattern for any of some words.

    Args:
        stems: Words or beginnings of words, with blanks between them; `_` is a blank.

    Returns:
        A group of alternatives.
    """
    return "(?:" + "|".join(stems.replace("_", " ") for stems in stems.split()) + ")"


def folded(text: str) -> str:
    """Text in the one spelling in which it is compared.

    Args:
        text: A text, or a pattern in lower case.

    Returns:
        Without accents, vowel signs and joiners, wide forms made narrow; Arabic and Persian
        letters that look alike made one.
    """
    plain = _MARKS.sub("", unicodedata.normalize("NFKD", text)).translate(_ALIKE)
    return unicodedata.normalize("NFC", plain)


def prepared(text: str) -> str:
    """A reply in the form in which a table reads it: folded, lower case, single blanks.

    Args:
        text: A reply, or its beginning.

    Returns:
        The text; an ellipsis is one full stop.
    """
    return normalise(folded(text)).replace("...", ".")
