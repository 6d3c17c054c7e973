"""`vlmguard run --latency`: logs of single answers beside the main ones, and refused options."""

from pathlib import Path

import pytest
from inspect_ai.log import list_eval_logs, read_eval_log
from support.counting_api import counting_api
from support.siuo_folder import write_siuo

from vlmguard.cli import main
from vlmguard.guard.errors import UserError
from vlmguard.results.leaderboard.build import build
from vlmguard.results.logs.frame import read_results
from vlmguard.results.run.config import Matrix, ModelChoice
from vlmguard.results.run.latency import latency_matrix
from vlmguard.results.run.matrix import run
from vlmguard.results.run.plan import plan

CALLS = counting_api("echo", '{"safety": 8, "helpful": true}')


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    CALLS.clear()
    data = str(write_siuo(tmp_path / "siuo", 4))
    return Matrix.model_validate(
        {
            "log_dir": str(tmp_path / "logs"),
            "targets": [{"model": "echo/target"}],
            "benchmarks": [{"name": "siuo", "args": {"data_dir": data, "judge": "general"}}],
            "defenses": [{"name": "none"}, {"name": "figstep_defense"}],
            "roles": {"grader": {"model": "echo/grader", "generate": {"batch": True}}},
            "options": {"display": "none", "epochs": 2},
        }
    )


def test_latency_is_measured_one_answer_at_a_time_and_unjudged(
    matrix: Matrix, tmp_path: Path
) -> None:
    # The judge may use batches, since it is not asked here.
    single = latency_matrix(matrix, 3)
    assert [line.judge_calls for line in plan(single)] == [0, 0]
    assert run(single)
    assert CALLS == ["target"] * 6
    logs = [read_eval_log(info) for info in list_eval_logs(str(tmp_path / "logs" / "latency"))]
    assert {log.eval.solver for log in logs} == {None, "vlmguard/figstep_defense"}
    for log in logs:
        assert (log.eval.config.max_samples, log.plan.config.max_connections) == (1, 1)
        assert not any(sample.scores for sample in log.samples or [])
    # Alone, they are not a run.
    alone = read_results([str(tmp_path / "logs")])
    assert not alone.runs
    assert set(alone.left_out.values()) == {"latency of a run whose log is not here"}
    # A second run costs nothing; the main runs find their latency logs.
    assert run(single)
    assert run(matrix.model_copy(update={"roles": {"grader": ModelChoice(model="echo/judge")}}))
    assert CALLS.count("target") == 6 + 2 * 2 * 4
    board = build(read_results([str(tmp_path / "logs")]))
    assert board.left_out == {}
    assert [entry.overhead.latency_of for entry in board.entries] == [3, 3]
    assert all((entry.overhead.latency or 0) > 0 for entry in board.entries)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"options": {"cache": True}}, "take cache out of options:"),
        (
            {"targets": [{"model": "echo/a", "generate": {"batch": True}}]},
            "take batch out of echo/a",
        ),
        (
            {"roles": {"rewriter": {"model": "echo/b", "generate": {"cache": True}}}},
            "take cache out of echo/b",
        ),
        ({"defenses": [{"name": "ecso", "label": "latency"}]}, "give it another label"),
    ],
)
def test_what_would_not_be_latency_is_refused(
    change: dict[str, object], said: str, matrix: Matrix
) -> None:
    changed = Matrix.model_validate(matrix.model_dump(exclude_unset=True) | change)
    with pytest.raises(UserError, match=said):
        latency_matrix(changed, 3)


def test_latency_needs_a_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--benchmark", "siuo", "--target", "echo/a", "--log-dir", str(tmp_path)]
    assert main(["run", *flags, "--latency", "0", "--dry-run"]) == 2
    assert "--latency" in capsys.readouterr().err
