"""How cells are handed out, with a cluster that is played: its clock has no waits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray")

from ray.exceptions import RayActorError

from vlmguard.results.run.cluster import pool
from vlmguard.results.run.cluster.outcome import Outcome

Answer = tuple[float, object]
DONE: Answer = 1000.0, Outcome("finished")
READY: Answer = 1.0, "node"
LOST = RayActorError()


@dataclass(eq=False)
class Asked:
    """An answer that arrives at a time; an error is raised."""

    due: float
    answer: object


@dataclass
class Cluster:
    """Stands in for `ray`, and for what shows how it goes.

    Attributes:
        cpus: Processes that run at once.
        run: What becomes of a cell's n-th try, after how many seconds.
        start: The same of a process that starts, by its number from 0.
        begun: When which cell began.
        started: Number of processes.
    """

    cpus: float
    run: Callable[[str, int], Answer] = lambda name, times: DONE
    start: Callable[[int], Answer] = lambda number: READY
    begun: list[tuple[float, str]] = field(default_factory=list)
    started: int = 0
    clock: float = 0.0

    def remote(self, made: type) -> Any:
        new = self._runner if made is pool.Runner else SimpleNamespace
        actor = SimpleNamespace(remote=lambda *_: new())
        return SimpleNamespace(options=lambda **_: actor)

    def _runner(self) -> Any:
        after, answer = self.start(self.started)
        self.started += 1
        return SimpleNamespace(
            ready=SimpleNamespace(remote=lambda: Asked(self.clock + after, answer)),
            run=SimpleNamespace(
                options=lambda name: SimpleNamespace(remote=lambda _: self._ran(name))
            ),
        )

    def _ran(self, name: str) -> Asked:
        times = [each for _, each in self.begun].count(name)
        after, answer = self.run(name, times)
        return Asked(self.clock + after, answer)

    def wait(self, asked: Sequence[Asked], **_: object) -> tuple[list[Asked], list[Asked]]:
        first = min(asked, key=lambda each: each.due)
        self.clock = first.due
        return [first], []

    def get(self, asked: Asked) -> object:
        if isinstance(asked.answer, Exception):
            raise asked.answer
        return asked.answer

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: "00" * 28)

    def kill(self, actor: object) -> None: ...

    def began(self, cell: Any) -> None:
        self.begun.append((self.clock, cell.name))

    def ended(self, *_: object) -> None: ...

    def left(self) -> None: ...

    def lost(self, *_: object) -> None: ...

    def tick(self) -> None: ...


@pytest.fixture
def hand_out(monkeypatch: pytest.MonkeyPatch) -> Callable[[Cluster, int], list[tuple[str, str]]]:
    """Hands out this many cells."""

    def handed(cluster: Cluster, count: int) -> list[tuple[str, str]]:
        node = SimpleNamespace(resources={"CPU": cluster.cpus})
        monkeypatch.setattr(pool, "ray", cluster)
        monkeypatch.setattr(pool, "nodes", lambda: [node])
        monkeypatch.setattr(pool, "pickle", SimpleNamespace(dumps=lambda _: b""))
        target = SimpleNamespace(resources={})
        cells: Any = [
            SimpleNamespace(pool=("", ""), local=(), place=name, name=name, target=target)
            for name in (f"c{number}" for number in range(count))
        ]
        start: Any = None
        view: Any = cluster
        return pool.hand_out(cells, start, view)

    return handed


def test_a_lost_process_is_replaced_at_once(hand_out: Any) -> None:
    cluster = Cluster(
        cpus=4, run=lambda name, times: (5, LOST) if (name, times) == ("c1", 1) else DONE
    )
    assert hand_out(cluster, 4) == []
    assert cluster.started == 5
    assert cluster.begun[-1] == (1 + 5 + 1, "c1")


def test_no_more_processes_start_than_cells_wait_or_nodes_take(hand_out: Any) -> None:
    for cpus, count, started in ((2, 5, 2), (4, 3, 3), (0, 2, 1)):
        cluster = Cluster(cpus)
        assert hand_out(cluster, count) == []
        assert cluster.started == started
        assert len(cluster.begun) == count


@pytest.mark.parametrize("after", [1, 60])
def test_a_bad_node_fails_no_cell_while_another_process_works(after: float, hand_out: Any) -> None:
    # Also if that one is ready only when the others have failed.
    cluster = Cluster(cpus=4, start=lambda number: (1, LOST) if number else (after, "good"))
    assert hand_out(cluster, 4) == []
    assert [name for _, name in cluster.begun] == ["c0", "c1", "c2", "c3"]


def test_a_cell_that_is_lost_beside_a_bad_node_goes_on(hand_out: Any) -> None:
    cluster = Cluster(
        cpus=2,
        run=lambda name, times: (50, LOST) if (name, times) == ("c0", 1) else DONE,
        start=lambda number: (1, LOST) if number in range(1, 4) else READY,
    )
    assert hand_out(cluster, 2) == []
    assert cluster.begun[0] == (1, "c0")
    assert {name for when, name in cluster.begun if when == 1 + 50 + 1} == {"c0", "c1"}


def test_cells_fail_where_no_process_can_start(hand_out: Any) -> None:
    cluster = Cluster(cpus=2, start=lambda _: (1, LOST))
    failed = hand_out(cluster, 3)
    assert [name for name, _ in failed] == ["c0", "c1", "c2"]
    assert all(reason.startswith("no process for it can start: ") for _, reason in failed)
    assert cluster.started == pool.LOSSES + 1
