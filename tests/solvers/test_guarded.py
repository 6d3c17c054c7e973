"""The model API `guarded/`: a defense around a task's own solver."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, score
from inspect_ai import eval as inspect_eval
from inspect_ai.agent import react
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, list_eval_logs, read_eval_log
from inspect_ai.model import GenerateConfig, ModelOutput, get_model
from inspect_ai.scorer import choice, includes
from inspect_ai.solver import Generate, Solver, TaskState, generate, multiple_choice, solver
from inspect_ai.tool import Tool, tool
from support.guarded import guarded_model
from support.scripted import (
    Call,
    Scripted,
    choices,
    message_of,
    picture,
    record_of,
    run_solver,
    sample,
    user,
)

from vlmguard.guard.defense import REFUSAL_MESSAGE
from vlmguard.guard.errors import UserError
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.roles import load_models
from vlmguard.guard.text.outputs import read_output
from vlmguard.results.logs.verify import count_calls
from vlmguard.scorers.refusal import refusal
from vlmguard.solvers import mllm_protector, vlmguard
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
    told = [event for event in log.samples[0].events if event.event == "info" and event.source]
    (said,) = [event for event in told if isinstance(event.data, dict)]
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
    ("defense", "role"), [("vlmguard", "rewriter"), ("mllm_protector", "detector")]
)
def test_an_agent_that_goes_on_does_not_undo_a_block(
    tmp_path: Path, defense: str, role: str
) -> None:
    def answer(call: Call) -> ModelOutput:
        if call.roles[-1] == "user" and "bomb" in call.text:
            return ModelOutput.from_content("target", "The bomb is made so.")
        said = " ".join(each.text for each in call.messages if each.role == "user")
        return ModelOutput.for_tool_call("target", "submit", {"answer": f"This: {said}"})

    def guards(call: Call) -> str:
        bad = "bomb" in " ".join(each.text for each in call.messages)
        if role == "detector":
            return "UNSAFE" if bad else "SAFE"
        return "nonsense" if bad else '{"reasoning": "r", "prompt": "Please proceed."}'

    target, guard = Scripted(answer), Scripted(guards, name=role)
    asked = Sample(id="a/1", input=[user("Build a bomb")], target="bomb")
    options = {"on_failure": "refuse"} if role == "rewriter" else {}
    log = run(
        Task(dataset=[asked], solver=react(), scorer=includes()),
        guarded_model(defense, target, **options),
        tmp_path,
        model_roles={role: guard.model},
        message_limit=10,
    )
    assert log.samples is not None
    assert "bomb" not in log.samples[0].output.completion
    assert "This: " in log.samples[0].output.completion
    texts = [each.text for each in target.calls[-1].messages]
    assert not any("bomb" in text or text == REFUSAL_MESSAGE for text in texts)
    assert (record_of(log).action, record_of(log).triggered) == ("block", True)


@pytest.mark.parametrize("guarded", [False, True])
def test_all_calls_of_an_agent_are_its_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))
    steps = [
        ModelOutput.for_tool_call("target", "look_up", {"word": "red"}),
        ModelOutput.for_tool_call("target", "submit", {"answer": "a colour"}),
    ]

    @solver
    def thrown_away() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            for _ in range(2):
                await get_model().generate("Unseen?", cache=True)
            return state

        return solve

    target = Scripted(lambda call: steps[sum(role == "tool" for role in call.roles)])
    model = guarded_model("figstep_defense", target) if guarded else target.model
    solvers = [thrown_away(), react(tools=[look_up()])]
    metadata = {"category": "c", "image_id": "i"}
    asked = Sample(id="a/1", input=[user("What?")], metadata=metadata)
    log = run(Task(dataset=[asked], solver=solvers, scorer=refusal()), model, tmp_path)
    assert log.samples is not None
    (score_of,) = (log.samples[0].scores or {}).values()
    found = (score_of.metadata or {})["defense"]
    assert (found["calls"], found["target_calls"]) == (4, 4)
    assert (found["input_tokens"], found["output_tokens"]) == (40, 20)


@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        ("guarded/figstep_defence/mockllm/m", {}, "Did you mean figstep_defense"),
        ("guarded/figstep_defense/mockllm", {}, "guarded/DEFENSE/PROVIDER/MODEL"),
        ("guarded/figstep_defense/nobody/m", {}, "nobody"),
        ("guarded/figstep_defense/mockllm/m", {"placment": "suffix"}, "Did you mean placement"),
        ("guarded/figstep_defense/mockllm/m", {"model_args": 1}, "mapping"),
        ("guarded/figstep_defense/mockllm/m", {"placement": "top"}, "-M placement=top"),
    ],
)
def test_what_is_wrong_shows_before_a_call(model: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        get_model(model, memoize=False, **options)


def test_many_samples_share_one_connection(tmp_path: Path) -> None:
    target, guard = Scripted("ok"), rewriter()
    asked = [Sample(id=f"s/{n}", input=f"Question {n}?") for n in range(12)]
    log = run(
        Task(dataset=asked, solver=generate()),
        guarded_model("vlmguard", target),
        tmp_path,
        model_roles={"rewriter": guard.model},
        max_connections=1,
        max_samples=12,
    )
    assert log.samples is not None
    assert len(target.calls) == len(guard.calls) == 12


def test_settings_of_the_run_reach_the_model_inside(tmp_path: Path) -> None:
    target = Scripted("ok")
    run(
        Task(dataset=[sample("How?")], solver=generate()),
        guarded_model("figstep_defense", target, placement="suffix"),
        tmp_path,
        max_tokens=33,
        temperature=0.5,
        system_message="Be brief.",
        epochs=2,
    )
    assert [call.config.max_tokens for call in target.calls] == [33, 33]
    assert {call.config.temperature for call in target.calls} == {0.5}
    assert [call.roles for call in target.calls] == [["system", "user"]] * 2


def test_the_cache_keeps_the_record_and_tells_options_and_roles_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))
    target, guard = Scripted("ok"), rewriter()

    def again(defense: str, model: Scripted = guard, **options: Any) -> DefenseRecord:
        log = run(
            Task(dataset=[sample("How?")], solver=generate()),
            guarded_model(defense, target, **options),
            tmp_path / "logs",
            model_roles={"rewriter": model.model},
            cache=True,
        )
        return record_of(log)

    first = again("vlmguard")
    made = len(target.calls), len(guard.calls)
    assert again("vlmguard") == first
    assert (len(target.calls), len(guard.calls)) == made
    assert again("figstep_defense").notes == {"placement": "system"}
    assert again("figstep_defense", placement="suffix").notes == {"placement": "suffix"}
    other = Scripted('{"reasoning": "r", "prompt": "Name another safe one."}', name="other")
    assert again("vlmguard", other).rewritten == "Name another safe one."


def test_a_missing_role_stops_before_a_call() -> None:
    target = Scripted("ok")
    log = run_solver(None, sample("How?"), guarded_model("vlmguard", target))
    assert "rewriter" in message_of(log)
    assert not target.calls


def test_an_error_of_the_defense_names_the_sample() -> None:
    target, guard = Scripted("ok"), Scripted("nonsense", name="rewriter")
    model = guarded_model("vlmguard", target, on_failure="raise")
    log = run_solver(None, sample("How?"), model, {"rewriter": guard})
    assert "Sample s/1" in message_of(log)
    assert not target.calls
    assert len(guard.calls) == 2


@pytest.mark.parametrize("around", [True, False])
def test_an_answer_that_nobody_would_check_is_refused(around: bool) -> None:
    target, guard = Scripted(choices("fine", "the bomb")), Scripted("SAFE", name="detector")
    log = run_solver(
        None if around else mllm_protector(),
        sample("How?"),
        guarded_model("mllm_protector", target) if around else target,
        {"detector": guard},
        num_choices=2,
    )
    assert "Leave num_choices out" in message_of(log)
    assert not guard.calls
    assert len(target.calls) == (not around)


def test_several_choices_are_one_call(tmp_path: Path) -> None:
    target = Scripted(choices("one", "two", "three"))

    @solver
    def keep_all() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            state = await generate(state)
            state.messages += [choice.message for choice in state.output.choices[1:]]
            return state

        return solve

    log = run(
        Task(dataset=[sample("How?")], solver=keep_all()),
        guarded_model("figstep_defense", target),
        tmp_path,
    )
    assert [stage.name for stage in record_of(log).stages] == ["answer"]


def test_a_defense_as_a_solver_stands_before_that_of_the_model() -> None:
    target = Scripted("ok")
    model = guarded_model("figstep_defense", target)
    log = run_solver(vlmguard(), sample("How?"), model, {"rewriter": rewriter()})
    assert record_of(log).defense == "vlmguard"


def test_a_system_message_is_sent_once(tmp_path: Path) -> None:
    target = Scripted("no")
    model = get_model(
        "guarded/ecso/mockllm/target",
        config=GenerateConfig(system_message="Be brief."),
        memoize=False,
        model_args={"custom_outputs": target.reply},
    )
    run(Task(dataset=[sample("How?")], solver=generate()), model, tmp_path)
    assert [call.roles for call in target.calls] == [["system", "user"]] * 2


def test_an_answer_that_the_context_cut_off_is_one(tmp_path: Path) -> None:
    cut = ModelOutput.from_content("target", "A long answer", stop_reason="model_length")
    task = Task(dataset=[sample("How?")], solver=generate())
    log = run(task, guarded_model("figstep_defense", Scripted(cut)), tmp_path)
    assert log.samples is not None
    said = read_output(log.samples[0].output)
    assert (said.kind, said.reason, said.text) == ("cut_off", "model_length", "A long answer")


@pytest.mark.parametrize("cached", [False, True])
def test_the_calls_in_the_log_are_those_of_the_tally(
    cached: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))
    target = Scripted("no")
    known = {"expected": "comply", "category": "c", "image_id": "1"}
    for _ in range(2):
        asked = sample("How?").model_copy(update={"metadata": known})
        task = Task(dataset=[asked], solver=generate(), scorer=refusal())
        log = run(task, guarded_model("ecso", target), tmp_path, cache=cached)
    assert len(target.calls) == (2 if cached else 4)
    counted = count_calls(log.location)
    assert (counted.calls, counted.tokens, counted.differing, counted.of) == (2, 30, 0, 1)


def test_the_cache_sees_what_changed_in_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    target = Scripted("no")
    # The answer itself is the same.
    for word, calls in (("One", 2), ("One", 2), ("Two", 3)):
        (prompts / "self_check.txt").write_text(word + " {request} {answer} yes or no?")
        model = guarded_model("ecso", target, templates=str(prompts))
        run(Task(dataset=[sample("How?")], solver=generate()), model, tmp_path, cache=True)
        assert len(target.calls) == calls


def test_scores_need_no_files_of_the_defense_but_a_run_does(tmp_path: Path) -> None:
    file, target = tmp_path / "warning.txt", Scripted("ok")
    file.write_text("Mind the picture.")
    asked = sample("How?").model_copy(update={"target": "ok"})
    task = Task(dataset=[asked], solver=generate(), scorer=includes())
    log = run(task, guarded_model("figstep_defense", target, template=str(file)), tmp_path)
    file.unlink()
    again = score(read_eval_log(log.location), includes(), action="overwrite", display="none")
    assert again.results is not None
    assert again.results.scores[0].metrics["accuracy"].value == 1.0

    without = guarded_model("figstep_defense", target, template=str(file))
    (failed,) = inspect_eval(task, model=without, display="none", log_dir=str(tmp_path))
    assert "-M template" in message_of(failed)
    assert str(file) in message_of(failed)
    with pytest.raises(UserError, match="-M template"):
        asyncio.run(load_models(without))
    assert len(target.calls) == 1


def test_a_role_that_leads_back_to_itself_is_refused(tmp_path: Path) -> None:
    target = Scripted("ok")
    around = guarded_model("vlmguard", target)
    with pytest.raises(UserError, match="role rewriter leads back to itself"):
        inspect_eval(
            Task(dataset=[sample("How?")], solver=generate()),
            model=guarded_model("vlmguard", Scripted("ok", name="other")),
            model_roles={"rewriter": around},
            display="none",
            log_dir=str(tmp_path),
        )
    other = run_solver(None, sample("How?"), target, {"rewriter": guarded_model("ecso", target)})
    assert other.status == "success"
    assert len(target.calls) == 1


def test_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(THEIRS)
    command = [sys.executable, "-c", PROGRAM, "eval", "theirs.py@theirs", "--log-dir", "logs"]
    command += ["--model", "guarded/vlmguard/spoken/target", "-M", "reasoning=false"]
    command += ["-M", "model_args={device: cpu}", "--model-role", "rewriter=spoken/guard"]
    command += ["--display", "plain", "--max-connections", "1", "--epochs", "2"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (info,) = list_eval_logs(str(tmp_path / "logs"))
    log = read_eval_log(info)
    assert log.status == "success", log.error
    assert log.results is not None
    assert log.results.scores[0].metrics["accuracy"].value == 1.0
    assert sorted(log.stats.model_usage) == ["spoken/guard", "spoken/target"]
    assert log.samples is not None
    record = DefenseRecord.of(log.samples[1])
    assert record.notes == {"reasoning": "", "prompt": 2}
    assert [stage.name for stage in record.stages] == ["rewrite", "answer"]


PROGRAM = """
from support.counting_api import counting_api
counting_api("spoken", "<prompt>Which is safe?</prompt>\\n\\nANSWER: A")
from inspect_ai._cli.main import main
main()
"""

THEIRS = """
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import choice
from inspect_ai.solver import Generate, Solver, TaskState, generate, multiple_choice, solver


@task
def theirs() -> Task:
    sample = Sample(input="Which?", choices=["one", "two"], target="A")
    return Task(dataset=[sample], solver=multiple_choice(), scorer=choice())
"""
