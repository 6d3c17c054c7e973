"""Recognising refusals by their words, in our own wording.

`is_refusal` says whether a whole reply declines, in eleven languages; `contains_phrase` whether
an English phrase occurs anywhere, as keyword metrics count.
"""

from vlmguard.guard.refusals.phrases import REFUSAL_PHRASES, contains_phrase, normalise
from vlmguard.guard.refusals.reading import is_refusal

__all__ = ["REFUSAL_PHRASES", "contains_phrase", "is_refusal", "normalise"]
