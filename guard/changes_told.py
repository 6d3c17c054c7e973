"""Says in a sample's transcript what was made of a request or an answer, where it happened.

Inspect View shows these events as Markdown. What users, models and files wrote stands in blocks of
code whose fence is longer than any in the text, so that it cannot end its block or look like ours.
"""

import re
from collections.abc import Sequence
from typing import Final

from inspect_ai.log import transcript

from vlmguard.guard.model_calls import TOLD_BY
from vlmguard.guard.text.untrusted import well_formed

__all__ = ["code_block", "tell_change"]

_LONGEST: Final = 4_000
"""Characters of a text that are shown; the record of the sample has all of it."""

_TICKS: Final = re.compile("`+")
# Nobody sees these, and some turn the text around them: each is shown by its number.
_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)


def tell_change(title: str, before: str, after: str, why: Sequence[str] = ()) -> None:
    """Tell of a change in the transcript of the running sample.

    Args:
        title: What was done, and by what, in our own words.
        before: The text as it was.
        after: What took its place; empty if nothing did.
        why: Reasons, a line each.
    """
    parts = [f"**{title}**", f"Before:\n\n{code_block(before)}"]
    if after:
        parts.append(f"After:\n\n{code_block(after)}")
    if why:
        reasons = "\n".join(why)
        parts.append(f"Why:\n\n{code_block(reasons)}")
    transcript().info("\n\n".join(parts), source=TOLD_BY)


def code_block(text: str) -> str:
    """Foreign text as a block of code that it cannot leave.

    Args:
        text: The text; a long one is cut, and characters that nobody sees are shown as numbers.
    """
    shown = well_formed(text).replace("\r\n", "\n")
    if len(shown) > _LONGEST:
        shown = f"{shown[:_LONGEST]}\n... ({len(text)} characters)"
    shown = _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", shown)
    longest = max((len(run) for run in _TICKS.findall(shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{shown}\n{fence}"
