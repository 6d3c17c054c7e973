"""Shows how far a long piece of work is: a bar in a terminal, a line at each tenth elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from vlmguard.guard.progress import is_terminal

__all__ = ["Report", "shown_progress"]

Report = Callable[[str, int, int], None]
"""Takes the name of a piece of work, how much of it is done, and how much there is."""


@contextmanager
def shown_progress() -> Iterator[Report]:
    """Show on standard error what is reported in this block."""
    if not is_terminal(sys.stderr):  # rich would draw bars in a pipe where FORCE_COLOR is set
        yield _lines()
        return
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        yield _bars(bars)


def _bars(bars: Progress) -> Report:
    known: dict[str, TaskID] = {}

    def report(name: str, done: int, total: int) -> None:
        if name not in known:
            known[name] = bars.add_task(name, total=total)
        bars.update(known[name], completed=done, total=total)

    return report


def _lines() -> Report:
    shown: dict[str, int] = {}

    def report(name: str, done: int, total: int) -> None:
        tenth = 10 * done // max(total, 1)
        if shown.get(name) != tenth:
            shown[name] = tenth
            print(f"{name}: {10 * tenth} %", file=sys.stderr, flush=True)

    return report
