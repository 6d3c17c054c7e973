"""Says how a run on a cluster goes: a line for each cell that ends, and one of counts below.

Where there is no terminal for the counts, each cell that begins has a line too.
"""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

from vlmguard.guard.progress import erase_status, is_terminal, show_status
from vlmguard.guard.terminal import say_error
from vlmguard.results.run.cluster.cells import Cell
from vlmguard.results.run.cluster.outcome import Outcome
from vlmguard.results.sanitize import one_line

__all__ = ["View"]

_NAMED: Final = 5
_REDRAW: Final = 0.5
"""Seconds between two changes of the line of counts."""
_STILL: Final = 600.0
"""Seconds without any line after which counts are printed where there is no terminal."""


class View:
    """The state of all cells.

    Args:
        total: Number of cells.
        finished: How many of them were finished before.
    """

    def __init__(self, total: int, finished: int) -> None:
        self.total = total
        self.counts = Counter(done=finished)
        self._drawn = 0.0
        self._said = time.monotonic()
        if finished:
            self._print(f"{finished} of {total} cells are finished by their logs.")

    def starting(self, where: str) -> None:
        """The cluster is there, and processes start on it, which takes a while.

        Args:
            where: What the cluster has.
        """
        left = self.total - self.counts["done"]
        cells = "1 cell" if left == 1 else f"{left} cells"
        self._print(f"Ray: {where}. Processes for {cells} start: each imports Inspect first.")

    def began(self, cell: Cell) -> None:
        """A cell has begun; a terminal shows that in the line of counts."""
        self.counts["running"] += 1
        if not is_terminal(sys.stderr):
            self._print(f"begun {cell.name} ({cell.samples} samples)")

    def ended(self, cell: Cell, outcome: Outcome) -> None:
        """A cell has ended."""
        done = outcome.state == "finished"
        self.counts["done" if done else "failed"] += 1
        told = f"{cell.samples} samples, {outcome.seconds:.0f} s, {outcome.node}"
        if done:
            self._print(f"done {self._number()} {cell.name} ({told})")
        else:
            at = f" on {outcome.node}" if outcome.node else ""
            self._print(f"failed {self._number()} {cell.name}{at}: {outcome.reason}")

    def left(self) -> None:
        """A cell that had begun runs no more."""
        self.counts["running"] -= 1

    def lost(self, cell: Cell, reason: str, times: int, most: int) -> None:
        """The process of a cell was lost; the cell goes on in another one."""
        self._print(
            f"lost ({times} of at most {most} times) {cell.name}: {reason}. It goes on elsewhere "
            "with what is in its log."
        )

    def tick(self) -> None:
        """Nothing has happened."""
        now = time.monotonic()
        if now - self._drawn >= _REDRAW:
            self._drawn = now
            show_status(f"cells: {self._counted()}")
        if now - self._said >= _STILL:
            self._print(f"cells: {self._counted()}")

    def errors(self, failed: Sequence[tuple[str, str]]) -> None:
        """Say once more, at the end, what failed: names of cells, and the reason of each."""
        erase_status()
        reasons: dict[str, list[str]] = {}
        for name, reason in failed:
            reasons.setdefault(reason, []).append(name)
        for reason, names in reasons.items():
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            say_error(one_line(f"unfinished: {'; '.join(names[:_NAMED])}{more}: {reason}"))

    def _counted(self) -> str:
        waiting = self.total - self.counts["done"] - self.counts["failed"] - self.counts["running"]
        named = {"waiting": waiting, **{each: self.counts[each] for each in _STATES}}
        return f"{', '.join(f'{count} {state}' for state, count in named.items())} of {self.total}"

    def _number(self) -> str:
        return f"[{self.counts['done'] + self.counts['failed']} of {self.total}]"

    def _print(self, line: str) -> None:
        self._said = time.monotonic()
        erase_status()
        print(one_line(line), flush=True)


_STATES: Final = ("running", "done", "failed")
