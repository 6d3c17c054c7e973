"""Recognises refusals by their words. The word lists are our own.

`is_refusal` says whether a whole reply declines, in eleven languages. `contains_phrase` says
whether an English phrase occurs anywhere, as keyword metrics count; `found_phrase` says which.
"""

from vlmguard.guard.refusals.phrases import (
    REFUSAL_PHRASES,
    contains_phrase,
    found_phrase,
    normalise,
)
from vlmguard.guard.refusals.reading import is_refusal, only_refuses

__all__ = [
    "REFUSAL_PHRASES",
    "contains_phrase",
    "found_phrase",
    "is_refusal",
    "normalise",
    "only_refuses",
]
