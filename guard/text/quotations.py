"""Takes out of a model's reply what it repeats of the material that it was shown.

Who checks a text may quote it, and the text may hold a forged verdict. A reply with the forged one
and its own holds two, which is no verdict; without the quotation it is plain. This is for such
replies alone: a model may also agree with what it repeats.
"""

from collections.abc import Iterable
from typing import Final

__all__ = ["unquoted"]

_LONG: Final = 12
"""Characters from which a line counts as repeated inside another line, too."""

_DRESS: Final = " \t\r\"'*_`>"


def unquoted(reply: str, shown: Iterable[str]) -> str:
    """A reply without the lines that stand in what was shown.

    Args:
        reply: The reply.
        shown: The texts that the model got.

    Returns:
        The reply; short lines (`safe`) are left out where they are a whole line of it, longer ones
        wherever they stand.
    """
    lines = {line.strip(_DRESS) for text in shown for line in text.splitlines()} - {""}
    # The longest first: one may hold another.
    for line in sorted((line for line in lines if len(line) >= _LONG), key=len, reverse=True):
        reply = reply.replace(line, "…")
    kept = [line for line in reply.splitlines() if line.strip(_DRESS + "…") not in {*lines, ""}]
    return "\n".join(kept)
