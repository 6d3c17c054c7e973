"""What commands say beside their result, on standard error: errors, and what to do next.

Colours are for terminals. `NO_COLOR` (https://no-color.org) switches them off, and `FORCE_COLOR`
switches them on for pipes too.
"""

import os
import shlex
import sys
from pathlib import Path
from typing import Final, Literal, TextIO

from vlmguard.guard.progress import is_terminal

__all__ = ["has_colours", "painted", "say_error", "say_next", "shown_path"]

Style = Literal["error", "hint"]
_CODES: Final[dict[Style, str]] = {"error": "1;31", "hint": "1"}


def has_colours(stream: TextIO | None) -> bool:
    """Whether text on a stream may be coloured."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or is_terminal(stream)


def painted(text: str, style: Style, stream: TextIO | None) -> str:
    """A text in the colour of its kind, where the stream shows colours."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if has_colours(stream) else text


def say_error(message: object) -> None:
    """Print an error on standard error: `vlmguard: ...`, the name in red."""
    _say("vlmguard:", message, "error")


def say_next(*ways: str) -> None:
    """Print what to do next, after a command that succeeded or that says how to go on.

    On standard error, so that a redirected table stays a table.

    Args:
        *ways: Commands or sentences, a line each.
    """
    for way in ways:
        _say("next:", way, "hint")


def shown_path(path: str | Path) -> str:
    """A path for a command that is shown: from the current folder where it is below, in quotes."""
    text = str(path)
    if "://" not in text and Path(text).is_absolute() and Path(text).is_relative_to(Path.cwd()):
        text = str(Path(text).relative_to(Path.cwd()))
    return shlex.quote(text)


def _say(head: str, message: object, style: Style) -> None:
    if sys.stdout is not None:
        sys.stdout.flush()  # so that both stand in order where they go to one place
    print(f"{painted(head, style, sys.stderr)} {message}", file=sys.stderr, flush=True)
