"""A second stage that fails or is interrupted keeps its results and pays for no call twice.

The rewriter is a tiny model with random weights. All its outputs count as rewrites here, so that
each run takes only a second or two.
"""

import json
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from support.checkpoints import checkpoint
from support.openai_server import Server, openai_server
from support.training_data import export_row, write_export

from vlmguard.training.finetune import model_card
from vlmguard.training.finetune import reward as rewarding
from vlmguard.training.finetune.train import main

pytestmark = pytest.mark.slow

GOOD = '{"safety": 9, "helpful": true}'
UNSAFE = '{"safety": 2, "helpful": true}'


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Target and judge; the verdict depends only on the answer, since calls come in any order."""

    def script(text: str, messages: list[dict[str, Any]]) -> str:
        if "You grade" not in text:
            return f"About {text}."
        answer = text.partition("About ")[2].partition("\n</answer")[0]
        return (GOOD, UNSAFE)[zlib.crc32(answer.encode()) % 2]

    torch.set_num_threads(1)
    with openai_server(script) as found, pytest.MonkeyPatch.context() as patch:
        for name, value in found.environment().items():
            patch.setenv(name, value)
        usable = lambda text, **rest: SimpleNamespace(prompt=text, failure=None)  # noqa: E731
        patch.setattr(rewarding, "read_reply", usable)
        yield found


@pytest.fixture(autouse=True)
def _all_is_well(server: Server) -> None:
    server.refuse.clear()
    server.requests.clear()


class Runs:
    """Runs of one configuration."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self._settings = settings

    def __call__(self, name: str, **changes: Any) -> int:
        file = self.folder / "run.yaml"
        out = {"output_dir": str(self.folder / name)}
        file.write_text(yaml.safe_dump(self._settings | out | changes))
        return main(["--config", str(file)])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Runs:
    folder = tmp_path_factory.mktemp("runs")
    rows = [export_row(index) for index in range(4)]
    data = write_export(folder / "data", rows=rows, validation_rows=rows)
    address = {"base_url": server.url}
    return Runs(
        folder,
        {
            "method": "grpo",
            "model": str(checkpoint("qwen2_vl")),
            "data": str(data),
            "target": {"model": "openai-api/scripted/target"} | address,
            "grader": {"model": "openai-api/scripted/judge"} | address,
            "per_device_train_batch_size": 4,
            "num_generations": 4,
            "max_completion_length": 4,
            "max_steps": 3,
            "save_steps": 1,
            "save_total_limit": 5,
            "learning_rate": 1e-2,
            "seed": 1,
            "gradient_checkpointing": False,
            "logging_steps": 1,
            "report_to": "none",
        },
    )


@pytest.fixture(scope="module")
def whole(run: Runs, server: Server) -> Path:
    """A run that nothing disturbed."""
    server.refuse.clear()
    server.requests.clear()
    assert run("whole") == 0
    folder = run.folder / "whole"
    assert len(server.requests) == len(verdict_lines(folder)) > 0
    return folder


def same_weights(one: Path, other: Path) -> bool:
    first, second = (load_file(folder / "adapter_model.safetensors") for folder in (one, other))
    assert first.keys() == second.keys()
    return all(torch.equal(tensor, second[key]) for key, tensor in first.items())


def verdict_lines(folder: Path) -> list[dict[str, str]]:
    file = folder / "verdicts" / "process-0.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_run_that_was_killed_pays_for_nothing_twice_and_ends_as_one_that_was_not(
    run: Runs, whole: Path, server: Server
) -> None:
    server.requests.clear()
    # As after a kill in step 2: a checkpoint and verdicts, the last one incomplete.
    broken = run.folder / "killed"
    broken.mkdir()
    shutil.copy(whole / "train_config.json", broken)
    shutil.copytree(whole / "checkpoint-1", broken / "checkpoint-1")
    shutil.copytree(whole / "verdicts", broken / "verdicts")
    file = broken / "verdicts/process-0.jsonl"
    file.write_bytes(file.read_bytes()[:-9])
    assert run("killed") == 0
    assert len(server.requests) == 1  # the one whose line was cut
    assert same_weights(whole, broken)
    assert not same_weights(whole, whole / "checkpoint-1")


def test_another_judge_is_asked_anew_and_the_target_is_not(
    run: Runs, whole: Path, server: Server
) -> None:
    server.requests.clear()
    shutil.copytree(whole / "verdicts", run.folder / "other/verdicts")
    other = {"model": "openai-api/scripted/judge-2", "base_url": server.url}
    assert run("other", grader=other, max_steps=1) == 0
    assert {each["model"] for each in server.requests} == {"judge-2"}


def test_too_many_failed_calls_end_the_run_and_keep_what_was_trained(
    run: Runs, whole: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = run.folder / "failed"
    shutil.copytree(whole / "verdicts", broken / "verdicts")
    file = broken / "verdicts/process-0.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[: len(lines) // 2]))  # verdicts of step 1 and part of step 2
    server.refuse.set()
    capsys.readouterr()
    assert run("failed", failed_calls=0, save_steps=100) == 2
    told = capsys.readouterr().err
    assert "calls failed, and failed_calls=0 allows 0 of 200. The last: " in told
    assert f"What was trained, 1 steps, is kept in {broken}/checkpoint-1." in told
    assert "test-key" not in told
    assert same_weights(whole / "checkpoint-1", broken / "checkpoint-1")
    server.refuse.clear()
    server.requests.clear()
    assert run("failed", failed_calls=0, save_steps=100) == 0
    assert len(server.requests) == len(lines) - len(lines) // 2
    assert same_weights(whole, broken)


def test_a_run_without_any_verdict_ends_with_weights_and_a_card(run: Runs, server: Server) -> None:
    server.refuse.set()
    assert run("silent", failed_calls=1, max_steps=1) == 0
    out = run.folder / "silent"
    assert (out / "adapter_model.safetensors").is_file()
    card = (out / "README.md").read_text()
    assert "trained by GRPO on judged answers" in card
    assert "| reward |" not in card
    # Failed calls are not kept and are made again.
    assert not (out / "verdicts").exists()
    state = json.loads((out / "checkpoint-1/trainer_state.json").read_text())
    assert state["log_history"][0]["reward"] is None
    assert state["log_history"][0]["failed_calls"] > 0


def test_what_goes_wrong_with_the_card_costs_no_weights(
    run: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **options: Any) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(model_card, "model_card", broken)
    with pytest.raises(ZeroDivisionError):
        run("cardless", max_steps=1)
    assert (run.folder / "cardless/adapter_model.safetensors").is_file()


def test_checkpoints_within_a_batch_of_rewrites_are_refused(
    run: Runs, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("within", num_iterations=2) == 2
    assert "save_steps: 1 must be a multiple of 2" in capsys.readouterr().err
    assert server.requests == []
