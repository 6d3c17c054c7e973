"""Hands cells out to processes on the nodes, and takes back what was lost."""

import pickle
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import ray
from ray.exceptions import ActorUnavailableError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from vlmguard.results.run.cluster.cells import Cell
from vlmguard.results.run.cluster.node import Board, Runner, Start, Stop
from vlmguard.results.run.cluster.outcome import Outcome
from vlmguard.results.run.cluster.session import nodes
from vlmguard.results.run.cluster.view import View
from vlmguard.results.run.resources import fits, named_resources, remote_options
from vlmguard.results.run.rounds import NoSpace

__all__ = ["LOSSES", "hand_out"]

LOSSES: Final = 3
"""How often the process of a cell may be lost before the cell counts as failed."""
_TICK: Final = 1.0
_GRACE: Final = 30.0
"""Seconds for cells to write their logs after Ctrl-C, before their processes are killed."""
_PATIENCE: Final = 300.0
"""Seconds that cells wait for a node that can take them, after the last one was lost."""


@dataclass
class _Pool:
    """Cells that the same processes can run."""

    resources: dict[str, float]
    waiting: deque[Cell]
    runners: int = 0
    broken: int = 0
    since: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class _Work:
    """What a process was asked: a cell, or whether it is ready."""

    pool: _Pool
    runner: Any
    cell: Cell | None


def hand_out(
    cells: Sequence[Cell], start: Start, view: View, one: bool = False
) -> list[tuple[str, str]]:
    """Run cells on the cluster that this process is connected to.

    Local models stay loaded in a process, which gets only cells of their target, and ends with
    them; so other targets then have its resources.

    Args:
        cells: The cells.
        start: What the processes need to know.
        view: Shows how it goes.
        one: Run one cell at a time, for measurements of time.

    Returns:
        The name of each cell that is not finished, and the reason.

    Raises:
        NoSpace: A disk is full; all cells were stopped.
        KeyboardInterrupt: Ctrl-C; all cells were stopped.
    """
    return _Hand(cells, start, view, one).out()


class _Hand:
    def __init__(self, cells: Sequence[Cell], start: Start, view: View, one: bool) -> None:
        self._start = start
        self._view = view
        self._most = 1 if one else len(cells)
        self._pools = _pools(cells)
        self._asked: dict[Any, _Work] = {}
        self._losses: dict[str, int] = {}
        self._failed: list[tuple[str, str]] = []
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        # What Ray makes of a class has methods that types do not know.
        board: Any = ray.remote(Board).options(
            num_cpus=0, max_concurrency=10_000, scheduling_strategy=here
        )
        self._board = board.remote()

    def out(self) -> list[tuple[str, str]]:
        try:
            while self._fill():
                done, _ = ray.wait([*self._asked], num_returns=1, timeout=_TICK)
                for ref in done:
                    self._take(ref, self._asked.pop(ref))
                self._view.tick()
            return self._failed
        except (KeyboardInterrupt, NoSpace):
            self._stop()
            raise
        finally:
            for work in self._asked.values():
                ray.kill(work.runner)
            ray.kill(self._board)

    def _fill(self) -> bool:
        """Start processes while there is room; returns whether anything is still to be done."""
        free = self._most - sum(pool.runners for pool in self._pools)
        there = [each.resources for each in nodes()]
        for pool in self._pools:
            if not pool.waiting:
                continue
            room = fits(pool.resources, there)
            # Each process that starts takes a cell; those at work do not.
            starting = sum(work.pool is pool and work.cell is None for work in self._asked.values())
            wanted = min(len(pool.waiting) - starting, max(room, 1) - pool.runners)
            if pool.broken >= LOSSES:  # those that are there, or still start, may do
                wanted = 0
            for _ in range(min(wanted, free)):
                self._new_runner(pool)
                free -= 1
            self._give_up_without_node(pool, room)
        return bool(self._asked)

    def _new_runner(self, pool: _Pool) -> None:
        made: Any = ray.remote(Runner).options(**remote_options(pool.resources))
        runner = made.remote(self._start, Stop(self._board))
        pool.runners += 1
        self._asked[runner.ready.remote()] = _Work(pool, runner, None)

    def _take(self, ref: Any, work: _Work) -> None:
        """What a process has answered: then it gets the next cell, or ends."""
        try:
            answer = ray.get(ref)
        except RayError as error:
            self._lost(work, error)
            return
        if isinstance(answer, Outcome) and work.cell is not None:
            self._ended(work.cell, answer)
        work.pool.broken = 0
        work.pool.since = time.monotonic()
        if not work.pool.waiting:
            work.pool.runners -= 1
            ray.kill(work.runner)
            return
        cell = work.pool.waiting.popleft()
        self._view.began(cell)
        asked = work.runner.run.options(name=cell.name).remote(pickle.dumps(cell))
        self._asked[asked] = _Work(work.pool, work.runner, cell)

    def _ended(self, cell: Cell, outcome: Outcome) -> None:
        self._view.left()
        self._view.ended(cell, outcome)
        if outcome.state == "full":
            raise NoSpace(outcome.reason)
        if outcome.state != "finished":
            self._failed.append((cell.name, outcome.reason))

    def _lost(self, work: _Work, error: RayError) -> None:
        """A process is gone, with its node or alone; or it could not begin."""
        pool, cell = work.pool, work.cell
        pool.runners -= 1
        ray.kill(work.runner)
        reason = _reason(error)
        if cell is None:
            pool.broken += 1
            if pool.broken >= LOSSES and not pool.runners:
                self._give_up(pool, f"no process for it can start: {reason}")
            return
        pool.broken = 0
        self._view.left()
        times = self._losses[cell.place] = self._losses.get(cell.place, 0) + 1
        if isinstance(error, RayTaskError) or times > LOSSES:
            self._ended_badly(cell, reason)
            return
        self._view.lost(cell, reason, times, LOSSES)
        pool.waiting.appendleft(cell)

    def _give_up_without_node(self, pool: _Pool, room: int) -> None:
        if room:
            pool.since = time.monotonic()
        elif time.monotonic() - pool.since > _PATIENCE:
            asked = named_resources(pool.resources)
            self._give_up(pool, f"no node is left that has {asked}. Run again when one is there")

    def _give_up(self, pool: _Pool, reason: str) -> None:
        while pool.waiting:
            self._ended_badly(pool.waiting.popleft(), reason)
        # A process that is not there yet may never be: Ray waits for a node without an end.
        for ref, work in list(self._asked.items()):
            if work.pool is pool and work.cell is None:
                del self._asked[ref]
                pool.runners -= 1
                ray.kill(work.runner)

    def _ended_badly(self, cell: Cell, reason: str) -> None:
        self._view.ended(cell, Outcome("error", reason))
        self._failed.append((cell.name, reason))

    def _stop(self) -> None:
        """Have all cells write what is finished; who has not done so in time is killed."""
        running = [ref for ref, work in self._asked.items() if work.cell is not None]
        try:
            ray.get(self._board.stop.remote(), timeout=_GRACE)
        except RayError:  # lost with its node: then they are killed
            return
        if running:
            ray.wait(running, num_returns=len(running), timeout=_GRACE)


def _pools(cells: Sequence[Cell]) -> list[_Pool]:
    """The cells by what they share; those with local models first, since others fill the rest."""
    found: dict[tuple[str, str], _Pool] = {}
    for cell in sorted(cells, key=lambda cell: not cell.local):
        pool = found.setdefault(cell.pool, _Pool(cell.target.resources, deque()))
        pool.waiting.append(cell)
    return list(found.values())


def _reason(error: RayError) -> str:
    """What Ray says, in a line: the last one of an exception's traceback, else the first."""
    if isinstance(error, ActorUnavailableError):
        # Ray's own words are on connections, and leave open what has become of the cell.
        return "its process no longer answers (killed, or its node is gone)"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    traced = isinstance(error, RayTaskError) or any("Traceback" in line for line in lines)
    return f"{type(error).__name__}: {lines[-1] if traced else lines[0]}".rstrip(".")
