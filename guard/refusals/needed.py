"""Finds texts without which none of many patterns can match, to skip a search for all of them.

A plain reply matches none of some five hundred alternatives, which are tried at each of its
letters, in each language of its script. But all of them spell something out ("can't", " nicht"),
and a search for that is thirty times as fast. It is read off the patterns, so that a table cannot
get a word that is not looked for.
"""

import re
from collections.abc import Iterable

# Python has no public parser of its patterns; what is not known here is only searched for longer.
from re import _parser  # type: ignore[attr-defined]
from typing import Any, Final, NamedTuple

__all__ = ["needed"]

_MOST: Final = 64
"""Texts of a part of a pattern that are listed, at most."""


class _Part(NamedTuple):
    """What is known of a part of a pattern.

    Attributes:
        all: Every text that it can match; None if they are not listed.
        some: Texts of which every match holds at least one; None if none are known.
    """

    all: frozenset[str] | None
    some: frozenset[str] | None


_NOTHING: Final = frozenset(("",))
_UNKNOWN: Final = _Part(None, None)


def needed(patterns: Iterable[str]) -> re.Pattern[str]:
    """A pattern that is found in every text in which one of these is found.

    Args:
        patterns: Regular expressions without flags.

    Returns:
        A fast one; it is found in other texts, too.
    """
    found: set[str] = set()
    for pattern in patterns:
        some = _sequence(_parser.parse(pattern)).some
        if some is None:
            return re.compile("")
        found |= some
    return re.compile(_tree({text for text in found if not _holds_another(text, found)}))


def _holds_another(text: str, others: set[str]) -> bool:
    return any(other in text for other in others if other != text)


def _tree(texts: set[str]) -> str:
    """A pattern for any of the texts, none of which begins another: by first letter, and so on."""
    if not texts:
        return "(?!)"
    behind: dict[str, set[str]] = {}
    for text in sorted(texts):
        behind.setdefault(text[0], set()).add(text[1:])
    ways = [
        re.escape(first) + ("" if rest == {""} else _tree(rest)) for first, rest in behind.items()
    ]
    return ways[0] if len(ways) == 1 else f"(?:{'|'.join(ways)})"


def _sequence(parts: Any) -> _Part:
    """Parts one after the other: the best that one of them, or several at a stretch, needs."""
    best: frozenset[str] | None = None
    run, whole = _NOTHING, True
    for part in parts:
        known = _part(*part)
        longer = None if known.all is None else _joined(run, known.all)
        if longer is not None:
            run = longer
            continue
        best, whole = _better(_better(best, _useful(run)), known.some), False
        run = _NOTHING if known.all is None else known.all
    best = _better(best, _useful(run))
    return _Part(run if whole else None, best)


def _part(operation: Any, given: Any) -> _Part:
    match str(operation):
        case "LITERAL":
            letter = frozenset((chr(given),))
            return _Part(letter, letter)
        case "IN" if all(str(kind) == "LITERAL" for kind, _ in given):
            letters = frozenset(chr(letter) for _, letter in given)
            return _Part(letters, letters)
        case "AT" | "ASSERT" | "ASSERT_NOT":
            return _Part(_NOTHING, None)  # they match a place, and no text
        case "SUBPATTERN" if not given[1]:  # without flags of its own
            return _sequence(given[3])
        case "ATOMIC_GROUP":
            return _sequence(given)
        case "BRANCH":
            ways = [_sequence(way) for way in given[1]]
            return _Part(_union([way.all for way in ways]), _union([way.some for way in ways]))
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            least, most, repeated = given
            once = _sequence(repeated)
            if (least, most) == (0, 1) and once.all is not None:
                return _Part(once.all | _NOTHING, None)
            return _Part(None, once.some if least else None)
    return _UNKNOWN


def _joined(before: frozenset[str], behind: frozenset[str]) -> frozenset[str] | None:
    if len(before) * len(behind) > _MOST:
        return None
    return frozenset(first + second for first in before for second in behind)


def _union(sets: list[frozenset[str] | None]) -> frozenset[str] | None:
    texts: set[str] = set()
    for each in sets:
        if each is None:
            return None
        texts |= each
    return frozenset(texts)


def _useful(texts: frozenset[str]) -> frozenset[str] | None:
    return None if "" in texts else texts


def _better(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    """The set whose shortest text is longer, or the smaller one: it is found less often."""
    if one is None or other is None:
        return other if one is None else one
    return max(one, other, key=lambda texts: (min(map(len, texts)), -len(texts)))
