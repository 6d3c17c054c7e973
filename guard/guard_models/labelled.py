"""Reads verdicts in lines of the form `Label: value`."""

import re
from collections.abc import Collection
from typing import Final

__all__ = ["agreed", "labelled_lines", "listed"]

# Marks of a list or of emphasis may stand around a label, nothing else: a line that quotes the
# user's words begins with other signs.
_LINE: Final = re.compile(
    r"[ \t*_#-]{0,8}([^\W\d_][^\n:*]{0,40}?)[ \t*_]{0,8}:[ \t*_]{0,8}([^\n]*)"
)
_NONE: Final = ("none", "n/a", "")


def labelled_lines(reply: str) -> dict[str, list[str]]:
    """The values of each label, in order; labels in small letters.

    Args:
        reply: A reply without its thinking.
    """
    found: dict[str, list[str]] = {}
    for line in reply.splitlines():
        match = _LINE.fullmatch(line.rstrip())
        if match is not None:
            found.setdefault(match[1].strip().lower(), []).append(match[2].strip(" \t*_"))
    return found


def agreed(values: Collection[str], allowed: Collection[str]) -> str | None:
    """The value on which all lines of a label agree, in small letters.

    Args:
        values: What stands behind the label, each time.
        allowed: The values that it may have, in small letters.

    Returns:
        None if there is no line, another value, or a contradiction: one line may be a quotation.
    """
    distinct = {value.lower().rstrip(".") for value in values}
    (only, *others) = distinct or {""}
    return only if not others and only in allowed else None


def listed(values: Collection[str]) -> tuple[str, ...]:
    """The categories of a list with commas, each once and without `None`."""
    names = (name.strip(" \t*_.") for value in values for name in value.split(","))
    return tuple(dict.fromkeys(name for name in names if name.lower() not in _NONE))
