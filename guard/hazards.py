"""What a benchmark says could go wrong with a sample, for ablations that are told it.

A task names it in a sample's metadata: `hazard` (empty: it does not say), or what every task of
ours has: `expected` (`comply`: harmless) and `category` (with `sub_category` or `subcategory`).
"""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["HAZARD", "hazard_of"]

HAZARD: Final = "hazard"
"""The key in a sample's metadata; it wins over the category."""

_FINER: Final = ("sub_category", "subcategory")


def hazard_of(metadata: Mapping[str, Any]) -> str | None:
    """The hazard of a sample, in its benchmark's words.

    Args:
        metadata: The sample's metadata.

    Returns:
        Empty for a harmless sample; None if the benchmark does not say.
    """
    if metadata.get("expected") == "comply":
        return ""
    if HAZARD in metadata:
        return str(metadata[HAZARD]).strip() or None
    if "expected" not in metadata:
        return None
    named = [metadata.get("category"), *(metadata.get(name) for name in _FINER)]
    return ": ".join(str(each) for each in named if each) or None
