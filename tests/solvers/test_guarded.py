"""The model API `guarded/`: a defense around a task's own solver."""

from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, score
from inspect_ai import eval as inspect_eval
from inspect_ai.agent import react
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.model import ModelOutput, get_model
from inspect_ai.scorer import choice, includes
from inspect_ai.solver import multiple_choice
from inspect_ai.tool import Tool, tool
from support.guarded import guarded_model
from support.scripted import Scripted, picture, record_of, run_solver, sample, user

from vlmguard.guard.errors import UserError
from vlmguard.solvers import vlmguard
from vlmguard.solvers.figstep_defense import DEFENSE_PROMPT


def run(task: Task, model: Any, where: Path, **options: Any) -> EvalLog:
    (log,) = inspect_eval(task, model=model, display="none", log_dir=str(where), **options)
    assert log.status == "success", log.error
    return log


def rewriter() -> Scripted:
    return Scripted('{"reasoning": "r", "prompt": "Name the safe one."}', name="rewriter")


def test_the_stock_multiple_choice_keeps_options_and_images(tmp_path: Path) -> None:
    target, image = Scripted("ANSWER: B"), picture()
    asked = Sample(id="q/1", input=[user("Which?", image)], choices=["one", "two"], target="B")
    task = Task(dataset=[asked], solver=multiple_choice(), scorer=choice())
    log = run(task, guarded_model("figstep_defense", target), tmp_path)
    assert log.results is not None
    assert log.results.scores[0].metrics["accuracy"].value == 1.0
    (call,) = target.calls
    assert call.messages[0].text == DEFENSE_PROMPT
    assert "A) one\nB) two" in call.text
    assert call.images == [image]
    assert list(log.stats.model_usage) == ["mockllm/target"]
    record = record_of(log)
    assert (record.defense, record.version, record.action) == ("figstep_defense", "2-A", "rewrite")
    assert [stage.name for stage in record.stages] == ["answer"]
    assert log.samples is not None
    (said,) = [event for event in log.samples[0].events if event.event == "info" and event.source]
    assert said.source == "vlmguard"
    assert isinstance(said.data, dict)
    assert (said.data["action"], said.data["reason"]) == ("rewrite", "warned")


def test_tokens_are_those_of_the_solver(tmp_path: Path) -> None:
    roles = {"rewriter": rewriter().model}
    around = run_solver(None, sample("How?"), guarded_model("vlmguard", Scripted("ok")), roles)
    within = run_solver(vlmguard(), sample("How?"), Scripted("ok"), {"rewriter": rewriter()})
    assert around.stats.model_usage == within.stats.model_usage
    assert around.stats.role_usage == within.stats.role_usage
    first, second = record_of(around), record_of(within)
    assert [stage.name for stage in first.stages] == ["rewrite", "answer"]
    leave = {"stages"}
    assert first.model_dump(exclude=leave) == second.model_dump(exclude=leave)


@tool
def look_up() -> Tool:
    async def execute(word: str) -> str:
        """Look a word up.

        Args:
            word: The word.
        """
        return f"{word} is a colour"

    return execute


def test_an_agent_works_and_each_of_its_calls_is_counted_once(tmp_path: Path) -> None:
    steps = [
        ModelOutput.for_tool_call("target", "look_up", {"word": "red"}),
        ModelOutput.for_tool_call("target", "submit", {"answer": "a colour"}),
    ]
    target = Scripted(lambda call: steps[sum(role == "tool" for role in call.roles)])
    asked = Sample(id="a/1", input=[user("What is red?", picture())], target="colour")
    task = Task(dataset=[asked], solver=react(tools=[look_up()]), scorer=includes())
    guard = rewriter()
    model = guarded_model("vlmguard", target)
    # Two turns of the agent; the calls that the defense makes are none.
    log = run(task, model, tmp_path, model_roles={"rewriter": guard.model}, turn_limit=3)
    assert log.results is not None
    assert log.results.scores[0].metrics["accuracy"].value == 1.0
    assert len(guard.calls) == 1
    assert [call.messages[1].text for call in target.calls] == [
        "Name the safe one.",
        "What is red?",
    ]
    assert all(message.metadata is None for call in target.calls for message in call.messages)
    record = record_of(log)
    assert [stage.name for stage in record.stages] == ["rewrite", "answer", "answer"]
    assert (record.skipped, record.triggered, record.action) == ("", True, "rewrite")
    assert (record.original, record.rewritten) == ("What is red?", "Name the safe one.")

    again = score(read_eval_log(log.location), includes(), action="overwrite", display="none")
    assert record_of(again) == record


@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        ("guarded/figstep_defence/mockllm/m", {}, "Did you mean figstep_defense"),
        ("guarded/figstep_defense/mockllm", {}, "guarded/DEFENSE/PROVIDER/MODEL"),
        ("guarded/figstep_defense/nobody/m", {}, "nobody"),
        ("guarded/figstep_defense/mockllm/m", {"placment": "suffix"}, "Did you mean placement"),
        ("guarded/figstep_defense/mockllm/m", {"model_args": 1}, "mapping"),
    ],
)
def test_what_is_wrong_shows_before_a_call(model: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        get_model(model, memoize=False, **options)
