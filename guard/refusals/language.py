"""The fields of a language's table of refusals, and the spelling in which texts are compared."""

import re
from dataclasses import dataclass
from typing import Final

from vlmguard.guard.refusals.phrases import normalise
from vlmguard.guard.text.normal_forms import normal_form

__all__ = ["Language", "any_of", "folded", "prepared"]

# Accents, Arabic hamza and vowel signs, the nukta: some writers leave them out.
_MARKS: Final = re.compile("[\u0300-\u036f\u064b-\u0655\u0670\u0640\u093c\u200d-\u200f]")
_ALIKE: Final = str.maketrans(
    {"\u064a": "\u06cc", "\u0649": "\u06cc", "\u0643": "\u06a9", "\u0629": "\u0647",
     "\u0901": "\u0902", "\u200c": " "}
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Language:
    """The refusals of one language: regular expressions, in folded spelling, lower case.

    A clause is the text between two punctuation marks.

    Attributes:
        script: The first words of the Unicode names of its letters.
        openers: Beginnings of a clause that comes before a refusal: apology, greeting, thanks,
            sympathy, a reason.
        declines: Patterns of a clause that declines; `^` where they must stand at its beginning.
        spares: Patterns of a clause that only seems to decline: the speaker asks for help.
        offers: Patterns of a question in which a speaker who declined offers something else. After
            any other question, the speaker is the person who asks for help.
        pleas: Patterns of a sentence that asks for help without a question.
        musings: Beginnings of a reply that thinks aloud.
        anywhere: Patterns that decline in any clause, also after a description, a reason or
            sympathy: the speaker says that it will not, may not or would rather not serve.
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
    """A pattern for any of the words, or beginnings of words, in `stems`; `_` is a blank."""
    return "(?:" + "|".join(stems.replace("_", " ") for stems in stems.split()) + ")"


def folded(text: str) -> str:
    """A text in the one spelling in which texts are compared.

    Accents, vowel signs and joiners are removed, wide forms become narrow, and Arabic and Persian
    letters that look alike become one letter.
    """
    plain = _MARKS.sub("", normal_form("NFKD", text)).translate(_ALIKE)
    return normal_form("NFC", plain)


def prepared(text: str) -> str:
    """A reply as the tables read it: folded, lower case, single blanks, "..." as one full stop."""
    return normalise(folded(text)).replace("...", ".")
