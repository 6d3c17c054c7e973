"""Which option an answer to a multiple-choice question takes."""

import re
from functools import cache
from typing import Final, NamedTuple

__all__ = ["read_bare_letter", "read_letter", "read_marked_letter", "read_opening_letter"]

_PREAMBLES: Final = ("", "(", "option ", "the answer is ")

# Letters in an answer that declares its option ("the correct option is B"), in one that starts with
# it ("B because A is unsafe"), and anywhere. Of the first two kinds the first letter counts, since
# reasons with letters of other options follow. Of the third kind the last letter counts. If lines
# start with letters of several options, the first letter is an item of a list, not a choice. `L`
# stands for the letters that there are.
_DECLARED: Final = (
    r"(?<!wrong )(?<!incorrect )(?<!unsafe )\b(?i:answer|option|choice)"
    r"(?i: is:?| would be:?| should be:?|:)[ *_]{0,4}(?i:option )?[ (\"'*_]{0,4}([L])(?!\w)"
    r"|\bI (?i:(?:would |will )?(?:choose|pick|select)) (?i:option )?[ (\"'*_]{0,4}([L])(?!\w)"
    r"|\b(?<!not )(?<!n't )(?i:go with) (?i:option )?[ (\"'*_]{0,4}([L])(?!\w)"
    r"|(?:\A|[\n.!;]\s{0,9})So,? (?i:option )?[ (\"'*_]{0,4}([L])[)\"'*_]{0,4}"
    r"(?:\s*\Z|[.\n]|,? (?i:because|since|as)\b)"
    r"|(?<!\w)([L])[)\"'*_]{0,4} is (?i:the )?(?i:correct|right|best|safest|answer)\b"
)
_LEADING: Final = (
    r"\W*(?i:option )?\W{0,4}([L])[)\"'*_]{0,4}"
    r"(?:\s*\Z|[:;.\n]|,(?![ ('\"]{0,3}[L]\b)| -|(?<=[)\"'*_])|\s+(?i:because|since|as)\b)"
)
_ITEM: Final = r"(?m)^[ \t]*(?:[-*] )?[\"'*_]{0,4}(?:\(?([L])\)?[\"'*_]{0,4}[:.]|([L])\))"
_MARKED: Final = r"\(([L])\)|'([L])'|\b([L]):"
_ALONE: Final = r"(?<!\w)([L])(?!\w)"
_SMALL: Final = (
    r"(?i)\W{0,4}(?:(?:the )?(?:answer|option|choice)(?: is)?:?)?\W{0,4}(?<!\w)([L])"
    r"(?:\W*\Z|[).:]\s)"
)


class _Patterns(NamedTuple):
    declared: re.Pattern[str]
    leading: re.Pattern[str]
    item: re.Pattern[str]
    marked: re.Pattern[str]
    alone: re.Pattern[str]


@cache
def _patterns(letters: str) -> _Patterns:
    texts = (_DECLARED, _LEADING, _ITEM, _MARKED, _ALONE)
    return _Patterns(*(re.compile(text.replace("[L]", f"[{letters}]")) for text in texts))


def read_letter(text: str, letters: str = "ABCD") -> str | None:
    """Read the chosen option from an answer.

    Args:
        text: The answer.
        letters: The letters of the options, in upper case.

    Returns:
        The letter that the answer declares or starts with (unless it is the first item of a list of
        options). Without one, the last letter marked as `(A)`, `'A'` or `A:`. Without one, the last
        of the letters that stands alone, else None.
    """
    found = _patterns(letters)
    listed = {item[item.lastindex or 0] for item in found.item.finditer(text)}
    first = found.declared.search(text)
    if first is None and len(listed) < 2:
        first = found.leading.match(text)
    if first:
        return first[first.lastindex or 0]
    for pattern in (found.marked, found.alone):
        matches = [str(match[match.lastindex or 0]) for match in pattern.finditer(text)]
        if matches:
            return matches[-1]
    return None


def read_bare_letter(text: str, letters: str) -> str | None:
    """The option if an answer is its letter alone, in any case, or starts with it and a full stop.

    Args:
        text: The answer; blanks around it do not count.
        letters: The letters of the options, in upper case.
    """
    said = text.strip().upper()
    return said[0] if said and said[0] in letters and said[1:2] in ("", ".") else None


def read_marked_letter(text: str, letters: str) -> str | None:
    """The option that opens an answer as `(b)`, `b) green`, `option b` or `Answer: b`, in any case.

    Args:
        text: The answer.
        letters: The letters of the options, in upper case.
    """
    found = re.match(_SMALL.replace("[L]", f"[{letters}]"), text)
    return found[1].upper() if found else None


def read_opening_letter(text: str, letters: str) -> str | None:
    """The option whose letter is an answer's first character, in any case: MMStar's rule.

    It may stand behind `(`, `option ` or `the answer is `. Words count as their first letter, so
    `Because of its colour` takes B.

    Args:
        text: The answer; blanks around it do not count.
        letters: The letters of the options, in upper case.
    """
    said = text.strip().lower()
    for opening in _PREAMBLES:
        rest = said.removeprefix(opening)
        if said.startswith(opening) and rest and rest[0].upper() in letters:
            return rest[0].upper()
    return None
