"""Another run, or a full disk, stops `vlmguard run` before it pays for lost answers."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, list_eval_logs, read_eval_log
from inspect_ai.log._recorders import eval as recorder
from inspect_ai.model import (
    ChatMessageUser,
    ContentImage,
    ContentText,
)
from support.counting_api import counting_api
from support.siuo_folder import write_siuo

from vlmguard.cli import main
from vlmguard.guard.errors import UserError
from vlmguard.results.run.config import Matrix
from vlmguard.results.run.locks import locked
from vlmguard.results.run.log_writing import log_options
from vlmguard.results.run.making import make_task
from vlmguard.results.run.matrix import run

SAMPLES = 30
AT_ONCE = 3
CALLS = counting_api("answering", lambda *_: os.urandom(8_000).hex())


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    CALLS.clear()
    data = write_siuo(tmp_path / "siuo", SAMPLES)
    return Matrix.model_validate(
        {
            "log_dir": str(tmp_path / "logs"),
            "targets": [{"model": "answering/target"}],
            "benchmarks": [{"name": "siuo", "args": {"data_dir": str(data), "judge": "none"}}],
            "defenses": [{"name": "none"}, {"name": "figstep_defense"}],
            "options": {"display": "none", "max_samples": AT_ONCE},
        }
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 kB; skipped if this user may not mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)]
    if mount is None or subprocess.run([mount, *options], check=False).returncode:
        pytest.skip("no disk can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_second_run_in_a_folder_is_refused(matrix: Matrix, tmp_path: Path) -> None:
    with (
        locked(str(tmp_path / "logs" / "none")),
        pytest.raises(UserError, match=rf"another run is at work in it \(process {os.getpid()} on"),
    ):
        run(matrix)
    assert CALLS == []
    matrix.limit = 2
    assert run(matrix)  # The lock ends with its holder, and is not a log.
    assert len(CALLS) == 4


def test_a_full_disk_stops_the_run_at_once(matrix: Matrix, small_disk: Path) -> None:
    matrix.log_dir = str(small_disk / "logs")
    with pytest.raises(UserError, match="no space is left for logs"):
        run(matrix)
    # About 12 answers of 8 kB fit; one more for each connection is lost, and there is no second
    # round.
    assert 3 < len(CALLS) < SAMPLES
    before = len(CALLS)

    words = ["mount", "-o", "remount,size=20m", str(small_disk)]
    subprocess.run(words, check=True)
    assert run(matrix)
    assert before < len(CALLS) <= 2 * SAMPLES + 2 * AT_ONCE
    for defense in ("none", "figstep_defense"):
        logs = [read_eval_log(info) for info in list_eval_logs(f"{matrix.log_dir}/{defense}")]
        (log,) = [log for log in logs if log.status == "success"]
        assert len(log.samples or []) == SAMPLES


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("written", [0, 3])
def test_no_space_is_tried_once(
    number: int, written: int, matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same without a separate disk: writing fails after some writes."""
    copies = [0]
    write = recorder._copy_temp_to_local

    def full(*args: Any) -> Any:
        copies[0] += 1
        if copies[0] > written:
            raise OSError(number, os.strerror(number))
        return write(*args)

    monkeypatch.setattr(recorder, "_copy_temp_to_local", full)
    with pytest.raises(UserError, match="no space is left for logs"):
        run(matrix)
    assert len(CALLS) <= written + 2 * AT_ONCE


def test_each_sample_is_written_at_once_unless_logs_grow_large(matrix: Matrix) -> None:
    tasks = [make_task(step) for step in matrix.benchmarks]
    assert log_options(tasks, matrix) == {"log_realtime": False, "log_buffer": 1}
    # 30 images of 1.3 MB, twice: 78 MB (a sample more for 3 MB) and 60 answers (one for 100).
    for sample in tasks[0].dataset:
        assert not isinstance(sample.input, str)
        image = sample.input[0].content[0]
        Path(image.image).write_bytes(bytes(1_300_000))  # type: ignore[union-attr]
    matrix.options["epochs"] = 2
    assert log_options(tasks, matrix)["log_buffer"] == round(78 / 3 + 60 / 100)
    matrix.options["log_images"] = False
    assert log_options(tasks, matrix)["log_buffer"] == 1


def test_own_options_win(matrix: Matrix) -> None:
    matrix.limit = 1
    matrix.defenses = matrix.defenses[:1]
    matrix.options |= {"log_realtime": True, "log_buffer": 7}
    assert run(matrix)
    (info,) = list_eval_logs(f"{matrix.log_dir}/none")
    assert read_eval_log(info, header_only=True).eval.config.log_buffer == 7


def test_ctrl_c_is_said_by_every_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    # Patched where it is used: a module imported under the patch would keep it.
    monkeypatch.setattr("vlmguard.tasks.data.command.describe", stop)
    assert main(["data"]) == 130
    assert capsys.readouterr().err == "vlmguard: stopped.\n"


def test_an_eval_set_that_comes_back_short_is_unfinished(
    matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = []

    def short(**options: Any) -> tuple[bool, list[EvalLog]]:
        rounds.append(options["log_dir"])
        return True, []

    monkeypatch.setattr("vlmguard.results.run.rounds.eval_set", short)
    matrix.options["retry_attempts"] = 1
    assert not run(matrix)
    assert len(rounds) == 2 * 2  # Both defenses, each tried once more.


def test_references_that_are_no_files_here_do_not_stop_a_run() -> None:
    image = ContentImage(image="https://example.org/picture.png")
    sample = Sample(input=[ChatMessageUser(content=[image, ContentText(text="What is this?")])])
    matrix = Matrix.model_validate(
        {
            "targets": [{"model": "mockllm/model"}],
            "benchmarks": [{"name": "siuo"}],
            "defenses": [{"name": "none"}],
        }
    )
    assert log_options([Task(dataset=[sample])], matrix)["log_buffer"] == 1
