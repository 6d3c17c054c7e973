"""The synthesis as a benchmark of `vlmguard run`: planned, in shards, and exported as one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
from support.counting_api import counting_api
from support.synthesis import good_reply, raw_row

from vlmguard.guard.errors import UserError
from vlmguard.guard.shards import is_wanted, only, shards_of
from vlmguard.results.run.config import Matrix
from vlmguard.results.run.matrix import run
from vlmguard.results.run.plan import plan, problems
from vlmguard.results.run.rounds import finish_set
from vlmguard.training.dataset.export import export
from vlmguard.training.synthesis import packed_images
from vlmguard.training.synthesize import synthesize

ROWS = 7


# A perfect reasoner.
counting_api("reasoning", lambda _, messages: good_reply(messages[-1].text))


@pytest.fixture
def configured(write_rows: Callable[..., Path], tmp_path: Path) -> Callable[..., Matrix]:
    rows = str(write_rows(*(raw_row(number, benign=number == 1) for number in range(ROWS))))

    def configure(log_dir: str = "logs", roles: Any = None, **args: Any) -> Matrix:
        return Matrix.model_validate(
            {
                "log_dir": str(tmp_path / log_dir),
                "targets": ["none/none"],
                "benchmarks": [{"name": "synthesize", "args": {"data": rows, **args}}],
                "defenses": [{"name": "none"}],
                "roles": {"reasoner": "reasoning/r"} if roles is None else roles,
                "options": {"display": "none"},
            }
        )

    return configure


@pytest.mark.parametrize(
    ("args", "target", "reasoner", "judge"),
    [
        ({}, 0, 4, 0),
        ({"check": "rules"}, 0, 3, 0),
        ({"stages": "rewrite"}, 0, 2, 0),
        ({"responses": "sample", "samples": 3}, 3, 4, 3),
        ({"rejection": 2}, 3, 5, 3),
    ],
)
def test_the_plan_counts_the_calls_of_all_models(
    args: dict[str, Any], target: int, reasoner: int, judge: int, configured: Callable[..., Matrix]
) -> None:
    roles = {"reasoner": "reasoning/r", "grader": "reasoning/g"}
    matrix = configured(roles=roles, **args)
    (line,) = plan(matrix)
    assert (line.samples, line.target_calls) == (ROWS, target * ROWS)
    assert (line.guard_calls, line.judge_calls) == (reasoner * ROWS, judge * ROWS)
    assert problems(matrix, [line]) == []


def test_models_that_are_missing_are_found_before_anything_is_paid_for(
    configured: Callable[..., Matrix],
) -> None:
    matrix = configured(roles={})
    assert "no model for the role reasoner" in problems(matrix, plan(matrix))[0]
    with pytest.raises(UserError, match="roles without a model: none on synthesize: reasoner"):
        run(matrix)
    with pytest.raises(UserError, match="synthesize: grader"):
        run(configured(rejection=1))


def test_shards_make_the_rows_of_the_whole_and_prepare_their_own_images_alone(
    configured: Callable[..., Matrix], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(configured("whole"))
    matrix = configured("parts")
    task = synthesize(matrix.benchmarks[0].args["data"])
    shards = shards_of([str(sample.id) for sample in task.dataset], 3)
    prepared: list[Path] = []
    prepare = packed_images.prepare_image

    def noted(path: Path) -> Any:
        prepared.append(path)
        return prepare(path)

    monkeypatch.setattr(packed_images, "prepare_image", noted)
    for shard in shards:
        place = f"{matrix.log_dir}/{shard.name}"
        assert finish_set(matrix, matrix.defenses[0], place, [], None, shard)
    assert len(prepared) == ROWS
    data = []
    for name in ("whole", "parts"):
        provenance = export([tmp_path / name], tmp_path / f"out-{name}", validation=0)
        assert provenance["unfinished_shards"] == []
        made = datasets.load_from_disk(str(tmp_path / f"out-{name}"))["train"]
        data.append([(row["id"], row["original"], row["rewritten"]) for row in made])
    assert len(data[0]) == ROWS
    assert data[0] == data[1]


def test_outside_of_a_shard_all_samples_are_wanted() -> None:
    (first, *_) = shards_of(["a", "b", "c", "d"], 2)
    with only(first):
        assert [is_wanted(each) for each in "abcd"] == [first.holds(each) for each in "abcd"]
    assert all(map(is_wanted, "abcd"))
