"""Says on a terminal what a command is busy with: one line, which the next output replaces.

Nothing is shown where standard error is a file, a pipe or a terminal that cannot erase a line, so
that logs of CI hold results and messages alone. There is no thread: the line changes when work
goes on, and stays while one piece of work takes long.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Final, TextIO, TypeVar

__all__ = ["counted", "erase_status", "is_terminal", "show_status", "tracked"]

_T = TypeVar("_T")
_BAR: Final = 24
_REDRAW: Final = 0.1
"""Seconds between two changes of a bar; more often would flicker."""

_shown_on: TextIO | None = None


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal that can erase a line (a `TERM=dumb` cannot)."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def show_status(text: str) -> None:
    """Show what the command is busy with, until something else is shown or printed.

    Args:
        text: A few words on one line; cut to the terminal's width.
    """
    global _shown_on
    stream = sys.stderr
    if not is_terminal(stream):
        return
    erase_status()
    stream.write(text[: shutil.get_terminal_size().columns - 1])
    stream.flush()
    _shown_on = stream


def erase_status() -> None:
    """Erase the line of `show_status`, if it is there."""
    global _shown_on
    stream, _shown_on = _shown_on, None
    if stream is not None:
        stream.write("\r\x1b[K")
        stream.flush()


def tracked(items: Iterable[_T], doing: str, total: int | None = None) -> Iterator[_T]:
    """Go through items and show how many of them are done.

    Args:
        items: The items.
        doing: What is done with them, e.g. `reading logs`.
        total: How many there are, if they do not tell it themselves.
    """
    known = total if total is not None or not isinstance(items, Sized) else len(items)
    report = counted(doing, known)
    for number, item in enumerate(items):
        report(number)
        yield item
    erase_status()


def counted(doing: str, total: int | None) -> Callable[[int], None]:
    """A function that shows how many pieces of some work are done.

    Args:
        doing: What is done with them, e.g. `reading logs`.
        total: How many there are; None where nobody knows.
    """
    last = 0.0

    def report(done: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _REDRAW:
            last = now
            show_status(_line(doing, done, total))

    return report


def _line(doing: str, done: int, total: int | None) -> str:
    if not total:
        return f"{doing}: {done}"
    filled = min(_BAR, _BAR * done // total)
    return f"{doing} [{'=' * filled}{' ' * (_BAR - filled)}] {done} of {total}"
