"""Lets Python look for circles of objects less often, while Inspect runs tasks or defenses of ours.

Objects that hold each other in a circle are freed by a look through all objects that there are.
Each look goes through what imports made, takes a third of a second, and stops the loop that all
samples share: by default, a fifth of a run's processor time. So what was there before is left out,
and looks are fewer. What circles hold stays a little longer. What one run leaves behind
is looked for before another begins, unless runs are so short that these looks would be more than a
small share of the time.

As `after_run`, this listens from the first task or solver of ours that is made: a process without
any keeps Python's own rhythm.
"""

import gc
from contextlib import ExitStack
from functools import cache
from time import monotonic
from typing import Final

from inspect_ai.hooks import Hooks, RunEnd, TaskStart, hooks

from vlmguard.guard.garbage import rarely_collected

__all__ = ["RareCollection", "collect_rarely"]

_OF_SAMPLES: Final = 2_000
"""How many more objects than before there are when Python looks among the newest, in a run.

Inspect's own circles hold the images of samples: with many more, memory grows.
"""

_BETWEEN_RUNS: Final = 20
"""A look through everything comes at the earliest after this many times what the last one took."""


@cache
def collect_rarely() -> None:
    """Let Inspect tell of the runs of this process; once is enough."""
    hooks(name="rare_collection", description="Has garbage collected less often.")(RareCollection)


class RareCollection(Hooks):
    """From the first task of a run to the end of the run."""

    def __init__(self) -> None:
        self._run: ExitStack | None = None
        self._next_look: float | None = None

    async def on_task_start(self, data: TaskStart) -> None:
        """Begin, if no task has."""
        if self._run is None:
            self._look_between_runs()
            self._run = ExitStack()
            self._run.enter_context(rarely_collected(_OF_SAMPLES))

    async def on_run_end(self, data: RunEnd) -> None:
        """Go on as before."""
        if self._run is not None:
            self._run.close()
            self._run = None

    def _look_between_runs(self) -> None:
        """Collect what earlier runs left, or it would stay until the last has ended."""
        now = monotonic()
        if self._next_look is None:
            self._next_look = now  # This is the first run.
        elif now >= self._next_look:
            gc.collect()
            self._next_look = now + _BETWEEN_RUNS * (monotonic() - now)
