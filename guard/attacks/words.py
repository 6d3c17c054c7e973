"""Finds the words of a request that matter, without a tagger of parts of speech.

English only: in other languages every word counts as one with a content of its own.
"""

import re
from collections.abc import Iterator
from typing import Final

from vlmguard.guard.attacks.base import AttackInput
from vlmguard.guard.errors import UserError

__all__ = ["FUNCTION_WORDS", "content_words", "key_phrase", "said"]

_FUNCTION_WORDS: Final = """
a about above across after again against all along also although always am among an and another any
anyone anything are around as at away back be because been before behind being below beside best
between both but by can cannot could describe did do does doing done down during each either else
enough especially even ever every everyone everything explain few first for from further get give go
had has have having he hello help her here hers hi him his how however i if image images in into is
it its itself just last least less let like list made make many may maybe me might mine more most
much must my myself need needs neither never new next no nobody none nor not nothing now of off
often on once one only onto or other others our out over own per perhaps photo photos picture
pictures please provide put rather really said same say see shall she should show since so some
somebody someone something soon still such take tell than thank thanks that the their them then
there these they thing things this those though through thus to together too toward towards try two
under until up upon us use used using very via want wants was way ways we well were what whatever
when where whether which while who whom whose why will with within without would yes yet you your
yours yourself
"""
FUNCTION_WORDS: Final = frozenset(_FUNCTION_WORDS.split())
"""Words that say little alone, or with which people ask for something or point to a picture."""

_WORD: Final = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def said(given: AttackInput) -> str:
    """The words that an attack draws: the key phrase of the data, else the request.

    Raises:
        UserError: There are none, as in a request that is an image alone.
    """
    if words := (given.phrase or given.text).strip():
        return words
    raise UserError(
        f"{given.name}: it has no words that could be drawn. Leave it out (--sample-id), or choose "
        "an attack on images."
    )


def content_words(text: str) -> Iterator[re.Match[str]]:
    """The words of a text that are none of `FUNCTION_WORDS`, where they stand."""
    return (word for word in _WORD.finditer(text) if word[0].lower() not in FUNCTION_WORDS)


def key_phrase(text: str) -> tuple[int, int] | None:
    """Where the key phrase of a request begins and ends; None without one.

    It is the longest run of content words with nothing but blanks between them, the last of several
    as long: `launder stolen money` of "Explain how to launder stolen money at home."

    Args:
        text: The request.
    """
    runs: list[list[re.Match[str]]] = []
    for word in content_words(text):
        if runs and text[runs[-1][-1].end() : word.start()].isspace():
            runs[-1].append(word)
        else:
            runs.append([word])
    if not runs:
        return None
    longest = max(reversed(runs), key=len)
    return longest[0].start(), longest[-1].end()
