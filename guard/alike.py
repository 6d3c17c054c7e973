"""Proposes the name that a user probably meant, wherever a name is refused."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

__all__ = ["did_you_mean"]

_LIKE: Final = 0.65
"""Two letters of three that are swapped are alike; the share of letters in common, from 0 to 1."""


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """` Did you mean NAME?`, with a blank in front; empty if no known name is like it.

    Capitals, and `-` for `_`, count as the same, and so does a package before the name.

    Args:
        name: What the user wrote.
        known: The names that there are.
    """
    spelled: dict[str, str] = {}
    for each in map(str, known):
        spelled.setdefault(_plain(each), each)
    wanted = _plain(str(name))
    close = get_close_matches(wanted, spelled, 1, _LIKE)
    close = close or get_close_matches(wanted.rpartition("/")[2], spelled, 1, _LIKE)
    return f" Did you mean {spelled[close[0]]}?" if close else ""


def _plain(name: str) -> str:
    return name.strip().casefold().replace("-", "_")
