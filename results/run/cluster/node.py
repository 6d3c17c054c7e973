"""What the nodes run: a process that runs cells one after the other, and a board for all of them.

Nothing heavy is imported at the top: settings of the machine that started the run must be in the
environment before Inspect and the Hugging Face libraries read them.
"""

import asyncio
import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

from vlmguard.guard.package import PACKAGE
from vlmguard.results.run.cluster.outcome import Outcome, State

if TYPE_CHECKING:
    from vlmguard.results.run.cluster.held import Held

__all__ = [
    "Board",
    "Runner",
    "Start",
    "Stop",
    "differing",
    "look",
    "settings_here",
    "versions_here",
]

_PACKAGES: Final = (PACKAGE, "inspect_ai", "ray")
# Without secrets. A node's own value wins: data may lie elsewhere there.
_SETTINGS: Final = (
    "VLMGUARD_DATA",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "HF_DATASETS_OFFLINE",
    "INSPECT_EVAL_CTL_SERVER",
)


@dataclass(frozen=True)
class Start:
    """What a process needs to know before its first cell.

    Attributes:
        versions: Those of the machine that started the run.
        settings: Harmless variables of its environment.
        folder: Its current folder, for relative paths.
    """

    versions: Mapping[str, str]
    settings: Mapping[str, str]
    folder: str


class Board:
    """Tells all processes of a run to stop."""

    def __init__(self) -> None:
        self._stop = asyncio.Event()

    async def stop(self) -> None:
        """Ctrl-C."""
        self._stop.set()

    async def stopped(self) -> None:
        """Return when the run is to stop."""
        await self._stop.wait()


class Stop:
    """Waits for the end of a run, in a thread of a process on a node.

    Args:
        board: The board's handle.
    """

    def __init__(self, board: Any) -> None:
        self._board = board

    def __call__(self) -> None:
        """Return when the run is to stop."""
        import ray

        ray.get(self._board.stopped.remote())


class Runner:
    """Runs cells, one at a time, in a process of its own; local models stay loaded between them.

    Args:
        start: As the machine that started the run has it.
        wait_for_stop: Returns when the run is to stop; called in a thread.
    """

    def __init__(self, start: Start, wait_for_stop: Callable[[], object]) -> None:
        _check_versions(start.versions)
        for name, value in start.settings.items():
            os.environ.setdefault(name, value)
        if os.path.isdir(start.folder):
            os.chdir(start.folder)
        # Ray blocks it, so that Ctrl-C on a terminal does not end its processes.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._held: Held | None = None
        self._running = False
        self._stopped = False
        threading.Thread(target=self._watch, args=(wait_for_stop,), daemon=True).start()

    def ready(self) -> str:
        """The name of this machine."""
        return socket.gethostname()

    def run(self, pickled: bytes) -> Outcome:
        """Run a cell.

        Args:
            pickled: The cell, which is unpickled here since that imports Inspect.
        """
        began = time.monotonic()
        try:
            # In this order: a stop is seen here, or interrupts what follows.
            self._running = True
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if self._stopped:
                return Outcome("stopped")
            state, reason = self._run(pickled)
        except KeyboardInterrupt:
            state, reason = "stopped", ""
        finally:
            self._running = False
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        return Outcome(state, reason, socket.gethostname(), time.monotonic() - began)

    def _run(self, pickled: bytes) -> tuple[State, str]:
        from vlmguard.results.run.cluster.held import Held
        from vlmguard.results.run.cluster.running import run_cell

        cell = pickle.loads(pickled)
        self._held = self._held or Held()
        return run_cell(cell, self._held)

    def _watch(self, wait_for_stop: Callable[[], object]) -> None:
        wait_for_stop()
        self._stopped = True
        main = threading.main_thread().ident
        if self._running and main is not None:
            # As Ctrl-C: Inspect then writes what is finished. A signal to this very thread, since
            # only that ends a wait for the network.
            signal.pthread_kill(main, signal.SIGINT)


def look(place: str, content: str) -> tuple[dict[str, str], bool]:
    """What a node has: its versions, and whether it sees a file of the machine that asks.

    Args:
        place: Path or address of the file.
        content: What is in it.
    """
    # Inspect has no public name for reading from a folder or an address.
    from inspect_ai._util.file import file

    try:
        with file(place, "r") as opened:
            sees = opened.read() == content
    except OSError:
        sees = False
    return versions_here(), sees


def versions_here() -> dict[str, str]:
    """The versions of what must be the same on all machines."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def settings_here() -> dict[str, str]:
    """The settings that nodes get where they have none of their own; no secrets among them."""
    return {name: os.environ[name] for name in _SETTINGS if name in os.environ}


def differing(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """The packages whose versions differ: `inspect_ai 0.3.290 in the place of 0.3.285`."""
    return [
        f"{name} {there.get(name, 'missing')} in the place of {wanted}"
        for name, wanted in here.items()
        if there.get(name) != wanted
    ]


def _check_versions(wanted: Mapping[str, str]) -> None:
    if wrong := differing(versions_here(), wanted):
        raise RuntimeError(f"{socket.gethostname()} has {', '.join(wrong)}")
