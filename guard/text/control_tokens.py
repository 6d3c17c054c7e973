"""Breaks up control tokens that are spelled out in a text, before a tokenizer reads it.

A tokenizer reads the spelling of a special token as the token itself, wherever it stands. So a user
who types a turn marker could end the turn and start another in the system's name. A model that
writes one would cut its own answer short when a model reads it again.
"""

import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Any, Final

from vlmguard.guard.text.reading import as_read
from vlmguard.guard.text.untrusted import well_formed

__all__ = ["break_up", "control_tokens", "without_controls"]

REASONING: Final = frozenset(("<think>", "</think>"))
"""Marks that models may write; they neither start nor end a turn."""


def control_tokens(tokenizer: Any, used: Collection[int] = ()) -> tuple[str, ...]:
    """The spellings that a tokenizer reads as control tokens.

    Args:
        tokenizer: A tokenizer of transformers.
        used: Token ids that the chat template adds to a conversation. Added tokens among them are
            turn markers, whether or not they are marked as special.

    Returns:
        The spellings. One character or white space alone is left out: it cannot be broken up, and
        is common in ordinary text.
    """
    added = tokenizer.added_tokens_decoder.items()
    markers = {str(token) for place, token in added if place in used and not token.special}
    special = {str(token) for _, token in added if token.special} | set(
        tokenizer.all_special_tokens
    )
    return tuple(sorted(each for each in special | (markers - REASONING) if len(each.strip()) > 1))


def without_controls(text: str, tokenizer: Any) -> str:
    """A foreign text for a model that checks it: `as_read`, without control tokens.

    So a tokenizer reads it as text alone.

    Args:
        text: Any text; lone surrogates are replaced, too.
        tokenizer: A tokenizer of transformers.

    Returns:
        The text with a space in each control token that it spells.
    """
    return break_up(well_formed(as_read(text)), _control_tokens(tokenizer))


@lru_cache(maxsize=16)
def _control_tokens(tokenizer: Any) -> tuple[str, ...]:
    return control_tokens(tokenizer)


def break_up(text: str, tokens: Iterable[str]) -> str:
    """Put a space after the first character of each token in a text.

    Args:
        text: Any text.
        tokens: Spellings of two characters or more.
    """
    found = [token for token in tokens if token in text]
    if not found:
        return text
    # A lookahead finds overlapping tokens, too.
    starts = "|".join(f"{re.escape(token[0])}(?={re.escape(token[1:])})" for token in found)
    return re.sub(starts, lambda match: f"{match[0]} ", text)
