"""Reads the JSON object in which a guard model gives its verdict.

A guard model may quote what it checks, and a request or an answer may hold a forged verdict. So the
verdict is the last object with its key, it begins a line and ends the reply, and no other object
contradicts it: a model that gives two verdicts has given none.
"""

import json
import re
from collections import Counter
from typing import Any, Final

__all__ = ["verdict_object"]

LONGEST: Final = 20_000
"""Characters of a reply. One that is longer has no verdict: it repeats itself, usually."""

# Begins the object's line: nothing, or the fence of a code block.
_BEFORE: Final = re.compile(r"(?:\A|\n)[ \t]{0,20}(?:```[ \t]{0,9}\w{0,12}\s{0,9})?\Z")
_BEHIND: Final = re.compile(r"[\s`]*\Z")


def verdict_object(reply: str, key: str, also: tuple[str, ...] = ()) -> dict[str, Any] | None:
    """The object of a reply that gives the verdict.

    Args:
        reply: The reply, without thinking.
        key: The key of the verdict.
        also: Other keys that are acted on: objects that both have one and differ in it contradict
            each other, too.

    Returns:
        The object, None if there is none that counts: cut short, quoted in a sentence, followed by
        more text, or in contradiction to another.
    """
    if len(reply) > LONGEST:
        return None
    broken = re.compile(r"\{\s*[\"']?" + re.escape(key))
    found: list[tuple[int, int, dict[str, Any]]] = []
    place = 0
    while (start := reply.find("{", place)) >= 0:
        try:
            content, place = _DECODER.raw_decode(reply, start)
        except (ValueError, RecursionError):
            # The objects in it may be quotations in its strings.
            if broken.match(reply, start):
                return None
            place = start + 1
            continue
        if key in content:
            found.append((start, place, content))
    told = [{repr(said[each]) for _, _, said in found if each in said} for each in (key, *also)]
    if not found or any(len(values) > 1 for values in told):
        return None
    start, end, content = found[-1]
    own = _BEFORE.search(reply[max(0, start - 60) : start]) and _BEHIND.match(reply, end)
    return content if own else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if twice := [name for name, number in Counter(name for name, _ in pairs).items() if number > 1]:
        raise ValueError(f"the key {twice[0]} occurs twice")
    return dict(pairs)


# Models write line breaks into strings.
_DECODER: Final = json.JSONDecoder(strict=False, object_pairs_hook=_unique)
