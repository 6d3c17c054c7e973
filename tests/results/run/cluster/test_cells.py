"""Cells, their folders and their logs, in this process: no cluster is needed to run a cell."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import list_eval_logs, read_eval_log
from inspect_ai.model import ChatMessage, GenerateConfig
from support.benchmark_folders.presets import write_preset
from support.counting_api import counting_api
from support.folders import write_figstep
from support.siuo_folder import write_siuo

from vlmguard.cli import main
from vlmguard.guard.errors import UserError
from vlmguard.guard.shards import SHARD, Shard, shards_of
from vlmguard.guard.transport import RESUMED
from vlmguard.results.run.cluster.cells import CELL, Cell
from vlmguard.results.run.cluster.driver import look_at
from vlmguard.results.run.cluster.finished import (
    finished_cells,
    headers_below,
    refuse_other_runs,
)
from vlmguard.results.run.cluster.held import Held
from vlmguard.results.run.cluster.running import run_cell
from vlmguard.results.run.config import Matrix, Step, Target
from vlmguard.results.run.matrix import run
from vlmguard.results.run.sharding import chosen_ids, only_shard

SAMPLES = 7


def echo(model: str, messages: list[ChatMessage]) -> str:
    """The request; `broken` fails at colour 3."""
    text = messages[-1].text
    if model == "broken" and "colour 3" in text:
        raise ValueError("colour 3 cannot be said")
    return f"I'm sorry: {text}" if "colour 1" in text else f"Yes: {text}"


CALLS = counting_api("echoing", echo)


@pytest.fixture
def matrix(tmp_path: Path) -> Iterator[Matrix]:
    CALLS.clear()
    data = write_siuo(tmp_path / "siuo", SAMPLES)
    return Matrix.model_validate(
        {
            "log_dir": str(tmp_path / "logs"),
            "targets": ["echoing/a", {"model": "echoing/b/c", "generate": {"top_p": 0.5}}],
            "benchmarks": [
                {"name": "siuo", "args": {"data_dir": str(data), "judge": "none"}},
                {
                    "name": "siuo",
                    "label": "choice",
                    "args": {"data_dir": str(data), "judge": "none", "track": "multiple_choice"},
                },
            ],
            "defenses": ["none", {"name": "figstep_defense", "label": "reminder"}],
            "options": {"display": "none", "retry_attempts": 0},
        }
    )


def small(matrix: Matrix, **changes: Any) -> Matrix:
    """One benchmark, one defense, one target."""
    update = {
        "targets": matrix.targets[:1],
        "benchmarks": matrix.benchmarks[:1],
        "defenses": matrix.defenses[:1],
        **changes,
    }
    return matrix.model_copy(update=update)


def ran(cells: list[Cell]) -> list[str]:
    return [run_cell(cell, Held())[0] for cell in cells]


def answers(folder: str) -> dict[str | int, tuple[str, Any]]:
    found: dict[str | int, tuple[str, Any]] = {}
    for info in list_eval_logs(folder):
        for sample in read_eval_log(info).samples or []:
            assert sample.id not in found
            scores = {name: each.value for name, each in (sample.scores or {}).items()}
            found[sample.id] = (sample.output.completion, scores)
    return found


def test_each_cell_has_a_folder_of_its_own(matrix: Matrix) -> None:
    cells = look_at(matrix).cells
    below = [each.place.removeprefix(matrix.log_dir) for each in cells]
    assert len(set(below)) == len(below) == 2 * 2 * 2
    digest = "[0-9a-f]{6}"
    assert re.fullmatch(rf"/none/siuo-{digest}/echoing-a", below[0])
    assert re.fullmatch(rf"/none/siuo-{digest}/echoing-b-c-{digest}", below[1])
    assert below[2] == "/none/choice/echoing-a"
    assert below[-2] == "/reminder/choice/echoing-a"
    assert [each.name for each in cells[2:3]] == ["none / choice / echoing/a"]
    split = look_at(matrix.model_copy(update={"shards": 3})).cells
    assert [each.place for each in split[:3]] == [f"{cells[0].place}/{n}-of-3" for n in (1, 2, 3)]
    assert sum(each.samples for each in split[:3]) == SAMPLES


def test_attacks_and_twins_keep_their_folders(matrix: Matrix) -> None:
    attacked = Matrix.model_validate({**dict(small(matrix)), "attacks": ["typographic"]})
    cells = look_at(attacked).cells
    assert cells[-1].place.startswith(f"{matrix.log_dir}/attacks/typographic/none/siuo")
    assert cells[-1].name == "typographic / none / siuo / echoing/a"


def test_two_cells_never_share_a_folder(matrix: Matrix) -> None:
    twice = small(matrix, targets=[*matrix.targets[:1], *matrix.targets[:1]])
    with pytest.raises(UserError, match="share the log folder"):
        look_at(twice)


def test_shards_together_are_the_whole_sample_by_sample(matrix: Matrix, tmp_path: Path) -> None:
    whole = small(matrix, defenses=matrix.defenses, log_dir=str(tmp_path / "whole"))
    assert run(whole)
    split = look_at(small(matrix, defenses=matrix.defenses, shards=3)).cells
    assert ran(split) == ["finished"] * len(split)
    for defense in ("none", "reminder"):
        assert answers(f"{matrix.log_dir}/{defense}") == answers(f"{whole.log_dir}/{defense}")
    headers = [read_eval_log(info, header_only=True) for info in list_eval_logs(matrix.log_dir)]
    shards = [Shard.noted_in(log.eval.metadata) for log in headers]
    assert all(each is not None and sum(each.sizes) == SAMPLES for each in shards)


def test_a_shard_is_taken_after_the_limit_and_the_chosen_ids(matrix: Matrix) -> None:
    limited = look_at(small(matrix, shards=2, limit=4)).cells
    assert sum(each.samples for each in limited) == 4
    assert ran(limited) == ["finished"] * len(limited)
    assert set(answers(matrix.log_dir)) == {f"siuo/{1000 + number}" for number in range(4)}
    chosen = small(matrix, shards=2, log_dir=f"{matrix.log_dir}-chosen")
    chosen.options = {**matrix.options, "sample_id": ["siuo/100[45]", "siuo/1006"]}
    assert sum(each.samples for each in look_at(chosen).cells) == 3
    chosen.options = {**matrix.options, "sample_id": ["siuo/1"]}
    with pytest.raises(UserError, match="No matches"):
        look_at(chosen)


@pytest.mark.parametrize("shards", [1, 2])
def test_a_benchmark_without_chosen_samples_has_no_cell(
    shards: int, matrix: Matrix, tmp_path: Path
) -> None:
    data = write_figstep(tmp_path / "figstep")
    args = {"data_dir": str(data), "split": "tiny", "judge": "none"}
    both = small(matrix, benchmarks=[matrix.benchmarks[0], Step(name="figstep", args=args)])
    both.shards = shards
    both.options = {**matrix.options, "sample_id": ["vlmguard/siuo:siuo/1001"]}
    looked = look_at(both)
    assert [cell.step.name for cell in looked.cells] == ["siuo"]
    assert ran(looked.cells) == ["finished"]
    assert finished_cells(looked.cells, headers_below(looked.folders)) == looked.cells


def test_a_shuffle_before_a_limit_is_refused(matrix: Matrix) -> None:
    shuffled = small(matrix, shards=2, limit=3)
    shuffled.options = {**matrix.options, "sample_shuffle": 1}
    with pytest.raises(UserError, match="sample_shuffle: and limit:"):
        look_at(shuffled)


def test_samples_without_ids_get_those_of_the_whole_benchmark(matrix: Matrix) -> None:
    def made() -> Task:
        return Task(dataset=MemoryDataset([Sample(input=f"{n}") for n in range(9)]))

    ids = chosen_ids(made(), matrix, [])
    assert ids == [*range(1, 10)]
    held = [
        [sample.id for sample in only_shard(made(), matrix, shard).dataset]
        for shard in shards_of(ids, 3)
    ]
    assert sorted(number for each in held for number in each if isinstance(number, int)) == ids
    with pytest.raises(UserError, match="the data differ"):
        only_shard(made(), matrix, Shard(1, (8, 1)))


def test_finished_cells_are_known_by_their_logs(matrix: Matrix) -> None:
    looked = look_at(small(matrix, shards=2))
    one, two = looked.cells
    assert ran([one]) == ["finished"]

    def finished(cells: list[Cell]) -> list[Cell]:
        return finished_cells(cells, headers_below(looked.folders))

    assert finished(looked.cells) == [one]
    # Not with other settings, more epochs, or a live buffer.
    for options in ({"temperature": 0.5}, {"epochs": 2}, {"log_realtime": True}):
        changed = small(matrix, shards=2)
        changed.options = {**matrix.options, **options}
        assert finished(look_at(changed).cells) == []
    assert ran([two]) == ["finished"]
    assert finished(looked.cells) == looked.cells
    asked = len(CALLS)
    assert ran(looked.cells) == ["finished", "finished"]
    assert len(CALLS) == asked == SAMPLES


@pytest.mark.parametrize("shards", [1, 2])
def test_settings_that_change_no_answer_pay_for_none(matrix: Matrix, shards: int) -> None:
    plain = small(matrix, shards=shards)
    assert set(ran(look_at(plain).cells)) == {"finished"}
    asked = len(CALLS)
    settings = GenerateConfig(
        max_retries=2,
        timeout=99,
        attempt_timeout=99,
        stream_idle_timeout=99,
        max_connections=3,
        adaptive_connections=False,
        batch=False,
        cache=False,
        cache_prompt=False,
    )
    assert settings.model_dump(exclude_none=True).keys() == RESUMED
    looked = look_at(small(plain, targets=[Target(model="echoing/a", generate=settings)]))
    assert set(ran(looked.cells)) == {"finished"}
    assert len(CALLS) == asked
    for told in (GenerateConfig(temperature=0.5), GenerateConfig(logprobs=True)):
        other = look_at(small(plain, targets=[Target(model="echoing/a", generate=told)]))
        assert {each.place for each in other.cells}.isdisjoint(each.place for each in looked.cells)


def test_another_number_of_shards_is_never_paid_for_again(matrix: Matrix) -> None:
    two = look_at(small(matrix, shards=2))
    assert ran(two.cells[:1]) == ["finished"]
    headers = headers_below(two.folders)
    refuse_other_runs(two.cells, headers)
    for shards, said in ((3, "and now with shards: 3"), (1, "and now without shards")):
        other = look_at(small(matrix, shards=shards))
        with pytest.raises(UserError, match=f"1-of-2: with shards: 2, {said}"):
            refuse_other_runs(other.cells, headers)
    less = look_at(small(matrix, shards=2, limit=3))
    with pytest.raises(UserError, match="limit, sample_id or data have changed"):
        refuse_other_runs(less.cells, headers)
    # Without Ray, Inspect would take shards for old logs of one run, and remove them.
    with pytest.raises(UserError, match="with --ray and shards: 2"):
        run(small(matrix))


def test_a_log_dir_may_be_named_as_a_shard_is(matrix: Matrix, tmp_path: Path) -> None:
    below = small(matrix, log_dir=str(tmp_path / "1-of-4" / "logs"))
    assert run(below)
    assert run(below)
    assert len(CALLS) == SAMPLES


def test_logs_of_a_run_without_ray_are_never_paid_for_again(matrix: Matrix) -> None:
    plain = small(matrix)
    assert run(plain)
    looked = look_at(matrix)
    with pytest.raises(UserError, match="none / siuo / echoing/a, without --ray"):
        refuse_other_runs(looked.cells, headers_below(looked.folders))
    # Others in the folder of the same defense may run.
    others = [cell for cell in looked.cells if cell.place != looked.cells[0].place]
    refuse_other_runs(others, headers_below(looked.folders))


def test_logs_of_a_preset_without_ray_are_never_paid_for_again(
    matrix: Matrix, tmp_path: Path
) -> None:
    """A preset's logs have the name of the task that runs all presets."""
    data = write_preset("mm_harmful", tmp_path / "mm", 2)
    step = Step(name="mm_harmful", args={"data_dir": str(data), "judge": "none"})
    plain = small(matrix, benchmarks=[step])
    assert run(plain)
    looked = look_at(plain)
    with pytest.raises(UserError, match="none / mm_harmful / echoing/a, without --ray"):
        refuse_other_runs(looked.cells, headers_below(looked.folders))


def test_a_run_without_ray_goes_on_with_unsharded_cells(matrix: Matrix) -> None:
    cells = look_at(small(matrix)).cells
    assert ran(cells) == ["finished"]
    asked = len(CALLS)
    assert run(small(matrix))
    assert len(CALLS) == asked


def test_a_failing_cell_says_which_sample_failed_and_why(matrix: Matrix) -> None:
    broken = Matrix.model_validate({**dict(small(matrix)), "targets": ["echoing/broken"]})
    (cell,) = look_at(broken).cells
    state, reason = run_cell(cell, Held())
    assert state == "unfinished"
    assert " failed, the first (siuo/1003)" in reason
    assert "colour 3 cannot be said" in reason


def test_a_log_that_cannot_be_read_is_named(matrix: Matrix) -> None:
    looked = look_at(small(matrix))
    (cell,) = looked.cells
    damaged = Path(cell.place) / "2026-01-01T00-00-00-00-00_siuo_x.eval"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"PK")
    with pytest.raises(UserError, match=f"{damaged}: cannot be read as a log"):
        headers_below(looked.folders)


def test_an_error_of_ours_is_the_cell_s(matrix: Matrix, tmp_path: Path) -> None:
    (cell,) = look_at(small(matrix)).cells
    (tmp_path / "siuo" / "data" / "siuo_gen.json").unlink()
    state, reason = run_cell(cell, Held())
    assert state == "error"
    assert "siuo_gen.json" in reason


def test_a_log_notes_its_cell_and_no_secret(matrix: Matrix) -> None:
    secret = "sk-0123456789abcdef0123456789abcdef"
    keyed = Matrix.model_validate(
        {
            **dict(small(matrix)),
            "targets": [{"model": "echoing/a", "model_args": {"api_key": secret}}],
        }
    )
    (cell,) = look_at(keyed).cells
    assert secret not in f"{cell.place} {cell.name} {cell.identity}"
    assert ran([cell]) == ["finished"]
    (info,) = list_eval_logs(matrix.log_dir)
    metadata = read_eval_log(info, header_only=True).eval.metadata or {}
    assert metadata[CELL] == cell.identity
    assert SHARD not in metadata


def test_shards_without_ray_are_an_error(
    matrix: Matrix, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(small(matrix, shards=2).model_dump_json(exclude_defaults=True))
    for words in ([], ["--dry-run"]):
        assert main(["run", "--config", str(path), *words]) == 2
        assert "shards: 2 splits benchmarks for several processes" in capsys.readouterr().err
    assert CALLS == []


def test_a_run_without_ray_does_not_import_it(matrix: Matrix, tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    plain = small(matrix, targets=[]).model_dump(mode="json", exclude_defaults=True)
    matrix = Matrix.model_validate({**plain, "targets": ["mockllm/model"]})
    path.write_text(matrix.model_dump_json(exclude_defaults=True))
    code = (
        "import sys; from vlmguard.cli import main; "
        f"status = main(['run', '--config', {str(path)!r}, '--dry-run']); "
        "import vlmguard.results.run.matrix, vlmguard.results.run.cluster.driver; "
        "sys.exit(status or any(name.partition('.')[0] == 'ray' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_the_extra_the_way_out_is_said(
    matrix: Matrix, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("vlmguard.results.run.cluster.session.find_spec", lambda name: None)
    words = ["--benchmark", "siuo", "--target", "echoing/a", "--ray", "local"]
    assert main(["run", *words]) == 2
    assert "pip install 'vlmguard[ray]'" in capsys.readouterr().err
