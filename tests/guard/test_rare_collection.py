"""While tasks or defenses of ours run, Python looks for garbage less often; else as before."""

import asyncio
import gc
import itertools
import subprocess
import sys
import weakref
from collections.abc import Iterator
from typing import cast

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.hooks import RunEnd, TaskStart
from inspect_ai.scorer import includes
from inspect_ai.solver import Generate, Solver, TaskState, chain, solver
from support.counting_api import counting_api

from vlmguard.guard import rare_collection
from vlmguard.guard.garbage import rarely_collected
from vlmguard.guard.rare_collection import RareCollection
from vlmguard.solvers import self_reminder

pytestmark = pytest.mark.usefixtures("own_logs")
counting_api("rarely", "Hello.")
Rhythm = tuple[tuple[int, int, int], bool]


def rhythm() -> Rhythm:
    """How often Python looks, and whether it leaves something out."""
    return gc.get_threshold(), gc.get_freeze_count() > 0


@pytest.fixture(autouse=True)
def usual() -> Iterator[Rhythm]:
    """As Python begins; whatever a test leaves is undone."""
    before = gc.get_threshold()
    gc.unfreeze()
    gc.set_threshold(700, 10, 10)
    yield rhythm()
    gc.unfreeze()
    gc.set_threshold(*before)


@solver
def noting(seen: list[Rhythm], fails: bool = False) -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        seen.append(rhythm())
        if fails:
            raise ValueError("on purpose")
        return state

    return solve


def run(*solvers: Solver) -> str:
    task = Task(dataset=[Sample("hello", target="x")], solver=chain(*solvers), scorer=includes())
    [log] = eval(task, model="rarely/model", display="none")
    return log.status


def test_while_a_defense_of_ours_runs_python_looks_less_often(usual: Rhythm) -> None:
    seen: list[Rhythm] = []
    for _ in range(2):
        assert run(self_reminder(), noting(seen)) == "success"
        assert rhythm() == usual
    assert seen == [((2_000, 10, 10), True)] * 2


def test_after_a_failed_run_all_is_as_before(usual: Rhythm) -> None:
    seen: list[Rhythm] = []
    assert run(self_reminder(), noting(seen, fails=True)) == "error"
    assert seen == [((2_000, 10, 10), True)]
    assert rhythm() == usual


@pytest.mark.parametrize("theirs", [0, 5_000])
def test_what_the_user_has_chosen_stays(theirs: int) -> None:
    gc.set_threshold(theirs, 10, 10)
    gc.freeze()
    with rarely_collected(2_000):
        assert gc.get_threshold() == (theirs, 10, 10)
    assert gc.get_freeze_count()


OTHERS = """
import gc
from inspect_ai import Task, eval
from inspect_ai.solver import solver

@solver
def noting():
    async def solve(state, generate):
        print(gc.get_threshold(), gc.get_freeze_count())
        return state
    return solve

eval(Task(solver=noting()), model="mockllm/model", display="none")
"""


def test_runs_of_others_are_left_alone() -> None:
    """The package is installed, and so loaded; nothing of it takes part."""
    plain = "import gc; print(gc.get_threshold(), gc.get_freeze_count())"
    said = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for code in (plain, OTHERS)
    ]
    assert said[0].stdout == said[1].stdout


def one_run(listener: RareCollection) -> None:
    """What Inspect tells of a run; the listener looks at none of it."""
    asyncio.run(listener.on_task_start(cast(TaskStart, None)))
    asyncio.run(listener.on_run_end(cast(RunEnd, None)))


class Held:
    """Something that can hold itself."""


def test_what_a_run_leaves_behind_is_gone_in_the_next() -> None:
    """Many runs in one process: what is left out of the looks of one is not lost to all."""
    kept = [Held()]
    kept[0].__dict__["itself"] = kept[0]
    seen = weakref.ref(kept[0])
    listener = RareCollection()
    one_run(listener)
    assert seen() is not None
    kept.clear()
    one_run(listener)
    assert seen() is None


class Noted:
    """Whether Python looked through everything."""

    full = False

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        self.full = self.full or info["generation"] == 2


def test_many_short_runs_do_not_spend_their_time_on_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look takes as long as there are objects, and a run may be over in less."""
    clock = itertools.count(100)  # Every look takes a second, and so does every run.
    monkeypatch.setattr(rare_collection, "monotonic", lambda: next(clock))
    listener = RareCollection()
    looked = []
    for _ in range(45):
        gc.callbacks.append(note := Noted())
        one_run(listener)
        gc.callbacks.remove(note)
        looked.append(note.full)
    assert [run for run, full in enumerate(looked) if full] == [1, 20, 39]


def test_circles_made_meanwhile_are_found() -> None:
    with rarely_collected(2_000):
        circle = Held()
        circle.__dict__["itself"] = circle
        del circle
        assert any(isinstance(each, Held) for each in gc.get_objects())
        gc.collect()
        assert not any(isinstance(each, Held) for each in gc.get_objects())
