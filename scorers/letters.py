"""Which of the options A to D an answer to a multiple-choice question takes."""

import re
from typing import Final

__all__ = ["read_letter"]

# Letters in an answer that declares its option ("the correct option is B"), in one that starts with
# it ("B because A is unsafe"), and anywhere. Of the first two kinds the first letter counts, since
# reasons with letters of other options follow. Of the third kind the last letter counts. If lines
# start with letters of several options, the first letter is an item of a list, not a choice.
_DECLARED: Final = re.compile(
    r"(?<!wrong )(?<!incorrect )(?<!unsafe )\b(?i:answer|option|choice)"
    r"(?i: is:?| would be:?| should be:?|:)[ *_]{0,4}(?i:option )?[ (\"'*_]{0,4}([A-D])(?!\w)"
    r"|\bI (?i:(?:would |will )?(?:choose|pick|select)) (?i:option )?[ (\"'*_]{0,4}([A-D])(?!\w)"
    r"|\b(?<!not )(?<!n't )(?i:go with) (?i:option )?[ (\"'*_]{0,4}([A-D])(?!\w)"
    r"|(?:\A|[\n.!;]\s{0,9})So,? (?i:option )?[ (\"'*_]{0,4}([A-D])[)\"'*_]{0,4}"
    r"(?:\s*\Z|[.\n]|,? (?i:because|since|as)\b)"
    r"|(?<!\w)([A-D])[)\"'*_]{0,4} is (?i:the )?(?i:correct|right|best|safest|answer)\b"
)
_LEADING: Final = re.compile(
    r"\W*(?i:option )?\W{0,4}([A-D])[)\"'*_]{0,4}"
    r"(?:\s*\Z|[:;.\n]|,(?![ ('\"]{0,3}[A-D]\b)| -|(?<=[)\"'*_])|\s+(?i:because|since|as)\b)"
)
_ITEM: Final = re.compile(
    r"(?m)^[ \t]*(?:[-*] )?[\"'*_]{0,4}(?:\(?([A-D])\)?[\"'*_]{0,4}[:.]|([A-D])\))"
)
_MARKED_LETTER: Final = re.compile(r"\(([A-D])\)|'([A-D])'|\b([A-D]):")
_BARE_LETTER: Final = re.compile(r"(?<!\w)([A-D])(?!\w)")


def read_letter(text: str) -> str | None:
    """Read the chosen option from an answer.

    Returns:
        The letter that the answer declares or starts with (unless it is the first item of a list of
        options). Without one, the last letter marked as `(A)`, `'A'` or `A:`. Without one, the last
        letter A to D that stands alone, else None.
    """
    first = _DECLARED.search(text) or (None if _is_list(text) else _LEADING.match(text))
    if first:
        return first[first.lastindex or 0]
    for pattern in (_MARKED_LETTER, _BARE_LETTER):
        letters = [str(match[match.lastindex or 0]) for match in pattern.finditer(text)]
        if letters:
            return letters[-1]
    return None


def _is_list(text: str) -> bool:
    """Whether lines start with the letters of different options."""
    return len({item[item.lastindex or 0] for item in _ITEM.finditer(text)}) > 1
