"""Calls at the same time: none that came back is lost if another one fails."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from inspect_ai.model import ModelOutput
from inspect_ai.solver import Solver
from support.scripted import USAGE, Call, Scripted, picture, run_solver, sample

from vlmguard.guard.defense import call_each
from vlmguard.guard.record import DefenseRecord
from vlmguard.solvers import eta, jailguard, smooth


def output(text: str) -> ModelOutput:
    made = ModelOutput.from_content("m", text)
    made.usage = USAGE
    return made


async def test_calls_are_at_once_and_noted_in_the_order_of_their_items() -> None:
    second = anyio.Event()

    async def call(item: str) -> ModelOutput:
        # The first waits for the second, so it comes back last.
        await (second.wait() if item == "a" else anyio.sleep(0))
        second.set()
        return output(item)

    record = DefenseRecord()
    with anyio.fail_after(5):
        outputs = await call_each(call, ["a", "b"], record, "copy", "target")
    assert [each.completion for each in outputs] == ["a", "b"]
    assert [(s.name, s.role, s.output) for s in record.stages] == [
        ("copy", "target", "a"),
        ("copy", "target", "b"),
    ]


async def test_calls_that_came_back_before_another_failed_are_noted() -> None:
    back = anyio.Event()

    async def call(item: str) -> ModelOutput:
        if item == "never":
            await anyio.sleep_forever()
        if item == "fails":
            await back.wait()
            raise ValueError("no answer")
        back.set()
        return output(item)

    record = DefenseRecord()
    with anyio.fail_after(5), pytest.raises(ValueError, match="no answer"):
        await call_each(call, ["never", "fails", "done"], record, "copy", "target")
    assert [stage.output for stage in record.stages] == ["done"]


@pytest.mark.parametrize(
    ("made", "stage", "asked"),
    [
        (lambda: smooth(k=4), "copy", "target"),
        (lambda: jailguard(n=3), "variant", "target"),
        (lambda: eta(decoding="response", n=3), "candidate", "target"),
        (lambda: eta(decoding="response", n=3), "rewards", "reward"),
    ],
)
def test_a_defense_keeps_the_calls_before_an_error(
    made: Callable[[], Solver], stage: str, asked: str
) -> None:
    calls = {"target": 0, "reward": 0}

    def reply(name: str, text: str) -> Callable[[Call], Any]:
        def say(call: Call) -> Any:
            calls[name] += 1
            return RuntimeError("lost") if name == asked and calls[name] == 4 else text

        return say

    roles = {
        "reward": Scripted(reply("reward", "1"), "reward"),
        "image_safety": Scripted("Yes", "image_safety"),
    }
    target = Scripted(reply("target", "An answer."))
    log = run_solver(made(), sample("How?", picture()), target, roles, fail_on_error=False)
    (only,) = log.samples or []
    assert only.error is not None
    assert "lost" in only.error.message
    kept = [each.name for each in DefenseRecord.of(only).stages]
    assert kept.count(stage) == 2, kept
