from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, score
from inspect_ai.dataset import Sample
from inspect_ai.log import read_eval_log
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessageAssistant,
    GenerateConfig,
    ModelName,
    ModelOutput,
    ModelUsage,
)
from inspect_ai.scorer import Score, Scorer, Target, accuracy, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from vlmguard import DefenseRecord, Stage, recorded
from vlmguard.guard.decision import Verdict
from vlmguard.guard.record import CALL_KEY, METADATA_KEY, tally


def state_with(*stages: Stage, output: ModelOutput | None = None) -> TaskState:
    state = TaskState(
        model=ModelName("mockllm/model"),
        sample_id="s",
        epoch=1,
        input="?",
        messages=[],
        output=output,
    )
    if stages:
        with recorded(state, "mine", "?") as record:
            for stage in stages:
                record.add_stage(stage)
    return state


def test_the_tally_adds_up() -> None:
    state = state_with(
        Stage(
            name="rewrite",
            role="rewriter",
            output="",
            input_tokens=100,
            output_tokens=20,
            seconds=1.5,
        ),
        Stage(
            name="answer", role="target", output="", input_tokens=30, output_tokens=10, seconds=0.5
        ),
        Stage(
            name="draw",
            role="target",
            output="",
            calls=4,
            input_tokens=40,
            output_tokens=8,
            seconds=2.0,
        ),
    )
    found = tally(state)
    assert (found["calls"], found["target_calls"]) == (6, 5)
    assert (found["input_tokens"], found["output_tokens"], found["seconds"]) == (170, 38, 4.0)


def test_what_one_provider_does_not_report_is_unknown_in_total() -> None:
    state = state_with(
        Stage(name="a", role="target", output="", input_tokens=1, output_tokens=2, seconds=0.0),
        Stage(name="b", role="reward", output="", seconds=1.0),
    )
    found = tally(state)
    assert (found["input_tokens"], found["output_tokens"]) == (None, None)
    # Zero is a number, not "unknown".
    assert found["seconds"] == 1.0


def test_without_a_defense_the_answer_is_the_cost() -> None:
    output = ModelOutput.from_content("m", "Yes.")
    output.usage = ModelUsage(input_tokens=3, output_tokens=2, total_tokens=5)
    output.time = 0.25
    found = tally(state_with(output=output))
    assert found["defense"] == "none"
    assert found["triggered"] is False
    assert (found["calls"], found["target_calls"]) == (1, 1)
    assert (found["input_tokens"], found["output_tokens"], found["seconds"]) == (3, 2, 0.25)


def test_where_nothing_was_called_nothing_was_spent() -> None:
    found = tally(state_with())
    assert (found["calls"], found["input_tokens"], found["seconds"]) == (0, 0, 0)


@solver
def defended() -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        with recorded(state, "mine", state.input_text) as record:
            record.notes = {"score": 0.5}
            state = await generate(state)
            record.add_call("answer", state.output, "target")
            record.add_stage(Stage(name="classify", role="detector", output="0.9", calls=2))
            record.failure = "empty"
        return state

    return solve


def test_what_was_done_before_an_error_is_kept() -> None:
    state = state_with()

    def fail() -> None:
        with recorded(state, "mine", "May I?", "2-A") as record:
            record.add_stage(Stage(name="rewrite", role="rewriter", output="no"))
            raise RuntimeError("the next call failed")

    with pytest.raises(RuntimeError, match="the next call failed"):
        fail()
    assert [stage.name for stage in DefenseRecord.of(state).stages] == ["rewrite"]
    assert (tally(state)["defense"], tally(state)["version"]) == ("mine", "2-A")


@scorer(metrics=[accuracy()])
def reads_record() -> Scorer:
    async def compute(state: TaskState, target: Target) -> Score:
        record = DefenseRecord.of(state)
        return Score(
            value=1,
            metadata={
                "tally": tally(state),
                "stages": [stage.name for stage in record.stages],
                "notes": record.notes,
            },
        )

    return compute


@pytest.mark.parametrize("log_format", ["eval", "json"])
def test_the_record_is_kept_in_the_log_and_read_back(
    run: Any, counted: Any, log_format: str
) -> None:
    target, _ = counted()
    log = run(
        Task(dataset=[Sample("May I?")], solver=defended(), scorer=reads_record()),
        model=target,
        log_format=log_format,
    )
    assert log.status == "success", log.error
    during = log.samples[0].scores["reads_record"].metadata
    assert during["stages"] == ["answer", "classify"]
    assert during["notes"] == {"score": 0.5}
    assert (during["tally"]["calls"], during["tally"]["failure"]) == (3, "empty")
    assert during["tally"]["input_tokens"] is None

    written = read_eval_log(log.location)
    record = DefenseRecord.of(written.samples[0])
    assert record.original == "May I?"
    assert record.stages[0] == Stage(
        name="answer",
        role="target",
        output="Yes.",
        input_tokens=10,
        output_tokens=5,
        seconds=record.stages[0].seconds,
    )
    again = score(written, reads_record(), action="overwrite", display="none")
    assert again.samples[0].scores["reads_record"].metadata == during


def test_samples_do_not_share_a_record(run: Any, counted: Any) -> None:
    target, _ = counted()
    samples = [Sample(id=number, input=f"{number}?") for number in range(3)]
    log = run(Task(dataset=samples, solver=defended(), scorer=reads_record()), model=target)
    assert [len(DefenseRecord.of(each).stages) for each in log.samples] == [2, 2, 2]
    assert {DefenseRecord.of(each).original for each in log.samples} == {"0?", "1?", "2?"}


def test_a_cached_call_is_not_free(
    run: Any, counted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))
    target, calls = counted(reply="Cached?")

    def once() -> dict[str, Any]:
        log = run(
            Task(
                dataset=[Sample("May I?")],
                scorer=reads_record(),
                config=GenerateConfig(cache=True),
            ),
            model=target,
        )
        assert log.status == "success", log.error
        found: dict[str, Any] = log.samples[0].scores["reads_record"].metadata["tally"]
        return found

    first, second = once(), once()
    assert len(calls) == 1
    assert (second["calls"], second["input_tokens"], second["output_tokens"]) == (1, 10, 5)
    assert second == first


def call_record(number: int, **more: Any) -> DefenseRecord:
    """The record of a call, with one stage and one template."""
    stage = Stage(name=f"answer{number}", role="target", output=str(number))
    return DefenseRecord(
        defense="mine", version="2-A", original=f"q{number}", stages=[stage], template="t", **more
    )


def test_joined_of_none_and_of_one() -> None:
    one = call_record(1, action="pass")
    assert DefenseRecord.joined([]) == DefenseRecord()
    assert DefenseRecord.joined([one]) == one


def test_joined_keeps_all_stages_and_texts_in_order() -> None:
    remarks = [["few tokens"], ["no seed", "few tokens"], []]
    records = [call_record(n, action="pass", approximations=remarks[n]) for n in range(3)]
    records[1].rewritten = "r1"
    records[0].kept_prefix, records[2].kept_prefix = "first: ", "last: "
    found = DefenseRecord.joined(records)
    assert (found.defense, found.version, found.template) == ("mine", "2-A", "t")
    assert [stage.name for stage in found.stages] == ["answer0", "answer1", "answer2"]
    assert found.original == "q0\n\nq1\n\nq2"
    # Where nothing was rewritten, the target heard the request itself.
    assert found.rewritten == "q0\n\nr1\n\nq2"
    assert found.approximations == ["few tokens", "no seed"]
    assert found.kept_prefix == "last: "
    assert [len(record.stages) for record in records] == [1, 1, 1]
    assert DefenseRecord.joined([records[0], records[2]]).rewritten is None


def test_joined_takes_the_last_action_that_intervened() -> None:
    safe, unsafe = Verdict(raw="ok", label="safe"), Verdict(raw="bad", label="unsafe")
    records = [
        call_record(0, action="rewrite", triggered=True, verdict=unsafe, notes={"score": 0.8}),
        call_record(1, action="block", triggered=True, verdict=unsafe, notes={"score": 0.9}),
        call_record(2, action="pass", verdict=safe, notes={"score": 0.1}),
    ]
    found = DefenseRecord.joined(records)
    assert (found.action, found.triggered, found.notes) == ("block", True, {"score": 0.9})
    assert found.verdict == unsafe
    passed = DefenseRecord.joined([records[2], call_record(3, action="pass", verdict=safe)])
    assert (passed.action, passed.triggered, passed.verdict) == ("pass", False, safe)


def test_joined_tells_the_first_failure_with_its_notes_but_the_action_of_another_call() -> None:
    safe = Verdict(raw="ok", label="safe")
    records = [
        call_record(0, action="block", triggered=True, notes={"of": 0}),
        call_record(1, action="pass", failure="no_grade", outcome="unusable", notes={"of": 1}),
        call_record(2, action="pass", failure="empty", verdict=safe, notes={"of": 2}),
    ]
    found = DefenseRecord.joined(records)
    assert (found.failure, found.outcome, found.notes) == ("no_grade", "unusable", {"of": 1})
    assert (found.action, found.triggered, found.verdict) == ("block", True, None)


def test_joined_leaves_skipped_calls_out_of_texts_and_verdicts_but_not_of_cost() -> None:
    looked = call_record(1, action="pass", notes={"of": 1})
    around = [call_record(n, action="pass", skipped="tool_turn") for n in (0, 2)]
    found = DefenseRecord.joined([around[0], looked, around[1]])
    assert (found.skipped, found.original, found.notes) == ("", "q1", {"of": 1})
    assert len(found.stages) == 3
    skipped = DefenseRecord.joined(around)
    assert (skipped.skipped, skipped.original) == ("tool_turn", "q0\n\nq2")
    # A call that was not looked at may have failed all the same: without an answer, for instance.
    around[1].failure = "no_answer"
    assert DefenseRecord.joined([looked, around[1]]).failure == "no_answer"


def test_several_choices_of_a_call_are_one_record_and_equal_calls_are_two() -> None:
    def said(call: str) -> ChatMessageAssistant:
        noted = {METADATA_KEY: call_record(1).dumped(), CALL_KEY: call}
        return ChatMessageAssistant(content="Yes.", metadata=noted)

    state = state_with()
    state.messages = [said("a"), said("a"), said("b")]
    assert [each.original for each in DefenseRecord.of_calls(state)] == ["q1", "q1"]
    assert len(DefenseRecord.of(state).stages) == 2
    choices = [ChatCompletionChoice(message=said("c")), ChatCompletionChoice(message=said("c"))]
    state.output = ModelOutput(model="m", choices=choices)
    assert len(DefenseRecord.of(state).stages) == 3
