"""What a benchmark says could go wrong with a sample, for ablations that are told it.

A task names it in a sample's metadata: `hazard` (empty: it does not say), or what every task of
ours has: `expected` (`comply`: harmless) and `category` (with `sub_category` or `subcategory`).
"""

import math
from collections.abc import Mapping
from typing import Any, Final

from vlmguard.guard.errors import UserError

__all__ = ["HAZARD", "hazard_of"]

HAZARD: Final = "hazard"
"""The key in a sample's metadata; it wins over the category."""

_FINER: Final = ("sub_category", "subcategory")


def hazard_of(metadata: Mapping[str, Any], name: str = "The sample") -> str | None:
    """The hazard of a sample, in its benchmark's words.

    Args:
        metadata: The sample's metadata.
        name: What errors call the sample.

    Returns:
        Empty for a harmless sample; None if the benchmark does not say, as with an empty text, None
        or NaN.

    Raises:
        UserError: An entry is no text.
    """
    if metadata.get("expected") == "comply":
        return ""
    if HAZARD in metadata:
        return _text(metadata, HAZARD, name) or None
    if "expected" not in metadata:
        return None
    named = [_text(metadata, key, name) for key in ("category", *_FINER)]
    return ": ".join(filter(None, named)) or None


def _text(metadata: Mapping[str, Any], key: str, name: str) -> str:
    value = metadata.get(key)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value.strip()
    raise UserError(
        f"{name}: what could go wrong with it is told as words, and {key!r} in its metadata is "
        f"{value!r}. Write a text, or leave it out."
    )
