from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, score
from inspect_ai.dataset import Sample
from inspect_ai.log import read_eval_log
from inspect_ai.model import GenerateConfig, ModelName, ModelOutput, ModelUsage
from inspect_ai.scorer import Score, Scorer, Target, accuracy, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from vlmguard import DefenseRecord, Stage, recorded
from vlmguard.guard.record import tally


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
