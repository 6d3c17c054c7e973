"""Control tokens that somebody spelled out in a text: broken up before a tokenizer reads it.

A tokenizer takes the spelling of a special token for the token itself, wherever it stands. A user
who types a turn marker would end the turn and start another one in the system's name; a model that
spells one would end its own answer when that is shown to a model again.
"""

import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Any, Final

from vlmguard.guard.text.untrusted import well_formed

__all__ = ["break_up", "control_tokens", "without_controls"]

REASONING: Final = frozenset(("<think>", "</think>"))
"""Marks that models write and are asked to write; no turn starts or ends at them."""


def control_tokens(tokenizer: Any, used: Collection[int] = ()) -> tuple[str, ...]:
    """The spellings that a tokenizer takes for control tokens.

    Args:
        tokenizer: A tokenizer of transformers.
        used: Ids that the chat template makes of a conversation without words of its own: added
            tokens among them are turn markers, whether or not they are marked as special.

    Returns:
        The spellings. Those of one character or of white space alone are left out: they cannot be
        broken up, and ordinary text is full of them.
    """
    added = tokenizer.added_tokens_decoder.items()
    markers = {str(token) for place, token in added if place in used and not token.special}
    special = {str(token) for _, token in added if token.special} | set(
        tokenizer.all_special_tokens
    )
    return tuple(sorted(each for each in special | (markers - REASONING) if len(each.strip()) > 1))


def without_controls(text: str, tokenizer: Any) -> str:
    """A foreign text that a tokenizer reads as text, and nothing else.

    Args:
        text: Any text; lone surrogates are replaced, too.
        tokenizer: A tokenizer of transformers.

    Returns:
        The text with a space in each control token that it spells.
    """
    return break_up(well_formed(text), _control_tokens(tokenizer))


@lru_cache(maxsize=16)
def _control_tokens(tokenizer: Any) -> tuple[str, ...]:
    return control_tokens(tokenizer)


def break_up(text: str, tokens: Iterable[str]) -> str:
    """Break up tokens that are spelled out in a text.

    Args:
        text: Any text.
        tokens: Spellings of two characters or more.

    Returns:
        The text with a space after the first character of each.
    """
    found = [token for token in tokens if token in text]
    if not found:
        return text
    # Looking ahead finds overlapping ones, too.
    starts = "|".join(f"{re.escape(token[0])}(?={re.escape(token[1:])})" for token in found)
    return re.sub(starts, lambda match: f"{match[0]} ", text)
