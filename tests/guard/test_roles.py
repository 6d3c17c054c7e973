from typing import Any

import pytest
from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.scorer import Score, Scorer, Target, accuracy, scorer
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver

from vlmguard.guard.roles import defaults_for, require_roles, role_models
from vlmguard.solvers import vlmguard


@scorer(metrics=[accuracy()])
def asks_graders() -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        graders = role_models("grader")
        for grader in graders:
            await grader.generate("How good?")
        return Score(value=1, metadata={"graders": [str(grader) for grader in graders]})

    return score


def task(**options: Any) -> Task:
    samples = [Sample(id=number, input="May I?") for number in range(5)]
    return Task(dataset=samples, setup=require_roles("grader"), scorer=asks_graders(), **options)


@pytest.mark.parametrize("with_solver", [None, vlmguard()])
def test_a_missing_role_stops_the_run_before_any_call(
    run: Any, counted: Any, with_solver: Solver | None
) -> None:
    target, calls = counted()
    rewriter, rewriter_calls = counted("rewriter")
    log = run(task(), model=target, model_roles={"rewriter": rewriter}, solver=with_solver)
    assert log.status == "error"
    assert "grader" in log.error.message
    assert calls == rewriter_calls == []


def test_a_missing_rewriter_stops_the_run_before_any_call(run: Any, counted: Any) -> None:
    target, calls = counted()
    grader, grader_calls = counted("grader")
    log = run(task(), model=target, model_roles={"grader": grader}, solver=vlmguard())
    assert log.status == "error"
    assert "rewriter" in log.error.message
    assert calls == grader_calls == []


def test_roles_of_the_run_and_of_the_task(run: Any, counted: Any) -> None:
    target, _ = counted()
    ours, our_calls = counted("ours")
    theirs, their_calls = counted("theirs")
    assert run(task(model_roles={"grader": ours}), model=target).status == "success"
    assert len(our_calls) == 5
    # The run's setting overrides the task's.
    run(task(model_roles={"grader": ours}), model=target, model_roles={"grader": theirs})
    assert (len(our_calls), len(their_calls)) == (5, 5)


def test_several_models_for_a_role(run: Any, counted: Any) -> None:
    target, _ = counted()
    (first, first_calls), (second, second_calls) = counted("first"), counted("second")
    log = run(task(), model=target, model_roles={"grader": [first, second]})
    assert log.status == "success", log.error
    score = log.samples[0].scores["asks_graders"]
    assert score.metadata["graders"] == ["mockllm/first", "mockllm/second"]
    assert len(first_calls) == len(second_calls) == 5
    # Both count for the role.
    assert log.stats.role_usage["grader"].input_tokens == 2 * 5 * 10


@solver
def asks(role: str) -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        model = get_model(role=role, required=True)
        ours = GenerateConfig(temperature=0.0, max_tokens=1024)
        await model.generate("?", config=defaults_for(model, ours))
        return await generate(state)

    return solve


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, (0.0, 1024, 1.0)),
        ({"max_tokens": 4096}, (0.0, 4096, 1.0)),
        ({"temperature": 1.0, "top_p": 0.5}, (1.0, 1024, 0.5)),
    ],
)
def test_settings_that_the_user_gave_a_role_win_over_ours(
    run: Any, counted: Any, own: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    target, target_calls = counted()
    helper, calls = counted("helper", **own)
    log = run(
        Task(
            dataset=[Sample("May I?")],
            solver=[asks("helper"), generate()],
            # The run's own settings are only for the target.
            config=GenerateConfig(max_tokens=7, temperature=0.3),
        ),
        model=target,
        model_roles={"helper": helper},
    )
    assert log.status == "success", log.error
    assert [(each.temperature, each.max_tokens, each.top_p) for each in calls] == [expected]
    assert [each.max_tokens for each in target_calls] == [7, 7]
