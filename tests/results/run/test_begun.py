"""A run that asks for less, or for other samples, never costs answers that were paid for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import score
from inspect_ai.log import list_eval_logs, read_eval_log, write_eval_log
from inspect_ai.model import ChatMessage
from support.counting_api import counting_api
from support.siuo_folder import write_siuo

from vlmguard.guard.errors import UserError
from vlmguard.results.run.cluster.driver import look_at
from vlmguard.results.run.cluster.finished import finished_cells, headers_below
from vlmguard.results.run.cluster.held import Held
from vlmguard.results.run.cluster.running import run_cell
from vlmguard.results.run.config import Matrix
from vlmguard.results.run.making import make_task
from vlmguard.results.run.matrix import run

SAMPLES = 7
BROKEN: set[str] = set()


def answer(_: str, messages: list[ChatMessage]) -> str:
    """An answer; fails where the request has a text of `BROKEN`."""
    if any(text in messages[-1].text for text in BROKEN):
        raise ValueError("the endpoint is down")
    return "Yes"


CALLS = counting_api("patient", answer)


@pytest.fixture
def matrix(tmp_path: Path) -> Iterator[Matrix]:
    CALLS.clear()
    BROKEN.clear()
    data = write_siuo(tmp_path / "siuo", SAMPLES)
    yield Matrix.model_validate(
        {
            "log_dir": str(tmp_path / "logs"),
            "targets": ["patient/a"],
            "benchmarks": [{"name": "siuo", "args": {"data_dir": str(data), "judge": "none"}}],
            "defenses": ["none"],
            "options": {"display": "none", "retry_attempts": 0, "max_samples": 1},
        }
    )
    BROKEN.clear()


def asking(matrix: Matrix, limit: int | None = None, **options: Any) -> Matrix:
    return matrix.model_copy(update={"limit": limit, "options": {**matrix.options, **options}})


def answers(matrix: Matrix) -> int:
    return sum(len(read_eval_log(info).samples or []) for info in list_eval_logs(matrix.log_dir))


def chosen(*numbers: int) -> list[str]:
    return [f"siuo/{1000 + number}" for number in numbers]


def test_fewer_epochs_remove_no_answers(matrix: Matrix) -> None:
    assert run(asking(matrix, 4, epochs=3))
    for options in ({}, {"epochs": 2}):
        with pytest.raises(UserError, match=r"epochs: 3, and now [12]\n.*another log_dir"):
            run(asking(matrix, 4, **options))
    assert answers(matrix) == len(CALLS) == 4 * 3
    # Another temperature is another run, with a log of its own.
    assert run(asking(matrix, 4, temperature=0.5))
    assert answers(matrix) == len(CALLS) == 4 * 3 + 4


def test_a_smaller_limit_removes_no_answers_of_an_unfinished_log(matrix: Matrix) -> None:
    BROKEN.add("colour 4")
    assert not run(matrix)
    BROKEN.clear()
    held, paid = answers(matrix), len(CALLS)
    with pytest.raises(UserError, match=r"7 samples \(unfinished\), of which .*siuo/1002, "):
        run(asking(matrix, 2))
    assert (answers(matrix), len(CALLS)) == (held, paid)
    assert run(matrix)
    # A finished log stays as it is: it holds all that is asked for.
    assert run(asking(matrix, 2))
    assert answers(matrix) == SAMPLES
    with pytest.raises(UserError, match="7 samples, of which"):
        run(asking(matrix, 2, epochs=2))


def test_more_samples_and_epochs_are_added_to_a_log(matrix: Matrix) -> None:
    assert run(asking(matrix, 2))
    assert run(asking(matrix, 4))
    assert run(asking(matrix, 4, epochs=2))
    assert answers(matrix) == len(CALLS) == 4 * 2


@pytest.mark.parametrize("shards", [None, 1, 2])
def test_other_samples_are_not_taken_for_finished(matrix: Matrix, shards: int | None) -> None:
    def start(*numbers: int) -> None:
        asked = asking(matrix, sample_id=chosen(*numbers))
        if shards is None:
            assert run(asked)
        else:
            cells = look_at(asked.model_copy(update={"shards": shards})).cells
            assert {run_cell(cell, Held())[0] for cell in cells} == {"finished"}

    start(0, 1, 2)
    for others in ((4, 5, 6), (0, 4), (1, 2, 3, 4)):
        with pytest.raises(UserError, match="not chosen now: siuo/100"):
            start(*others)
    assert answers(matrix) == len(CALLS) == 3
    start(0, 1, 2)
    assert answers(matrix) == len(CALLS) == 3


@pytest.mark.parametrize("shards", [None, 1, 2])
def test_failed_samples_of_a_finished_log_are_tried_once_more(
    matrix: Matrix, shards: int | None, capfd: pytest.CaptureFixture[str]
) -> None:
    lenient = asking(matrix, fail_on_error=0.9)

    def calls() -> int:
        before = len(CALLS)
        if shards is None:
            assert run(lenient)
        else:
            looked = look_at(lenient.model_copy(update={"shards": shards}))
            done = finished_cells(looked.cells, headers_below(looked.folders))
            left = [cell for cell in looked.cells if cell not in done]
            assert {run_cell(cell, Held())[0] for cell in left} <= {"finished"}
        return len(CALLS) - before

    def failed() -> list[str | int]:
        logs = [read_eval_log(info) for info in list_eval_logs(matrix.log_dir)]
        return [each.id for log in logs for each in log.samples or [] if each.error]

    BROKEN.add("colour 3")
    assert calls() == SAMPLES
    assert calls() == 1  # Still broken: tried once, and said again.
    assert capfd.readouterr().err.count("1 of ") == 2
    assert failed() == chosen(3)
    BROKEN.clear()
    assert calls() == 1
    assert failed() == []
    assert answers(matrix) == SAMPLES
    assert calls() == 0


def test_a_log_with_failed_samples_is_not_cut_to_fewer(matrix: Matrix) -> None:
    BROKEN.add("colour 3")
    assert run(asking(matrix, fail_on_error=False))
    with pytest.raises(UserError, match=r"7 samples \(unfinished\)"):
        run(asking(matrix, 2, fail_on_error=False))
    assert answers(matrix) == SAMPLES


def test_a_shuffle_draws_its_samples_anew(matrix: Matrix) -> None:
    BROKEN.update({"colour"})
    assert not run(asking(matrix, 3, sample_shuffle=1))
    BROKEN.clear()
    with pytest.raises(UserError, match="3 samples, and now 2"):
        run(asking(matrix, 2, sample_shuffle=1))
    assert run(asking(matrix, 3, sample_shuffle=1))
    assert answers(matrix) == 3


@pytest.mark.parametrize("finished", [True, False])
def test_answers_without_scores_are_not_taken_for_scored(matrix: Matrix, finished: bool) -> None:
    if not finished:
        BROKEN.add("colour 4")
    assert run(asking(matrix, score=False)) is finished
    BROKEN.clear()
    paid = len(CALLS)
    with pytest.raises(UserError, match=r"no scores .*inspect score LOG.*\n.*another log_dir"):
        run(matrix)
    assert len(CALLS) == paid
    assert run(asking(matrix, score=False))
    # As `inspect score` does.
    (info,) = list_eval_logs(matrix.log_dir)
    task = make_task(matrix.benchmarks[0])
    assert task.scorer
    scored = score(read_eval_log(info), task.scorer, display="none")
    write_eval_log(scored, info.name)
    assert run(matrix)
    assert len(CALLS) - paid == (0 if finished else 3)
