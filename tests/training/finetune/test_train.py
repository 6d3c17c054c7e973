"""Whole runs on tiny checkpoints: learning, loading the result, interruption, a full disk."""

import io
import json
import math
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
import yaml
from inspect_ai.model import get_model
from support.checkpoints import build_qwen2_vl, checkpoint
from support.training_data import export_row, weights, write_export

from vlmguard.cli import main as command
from vlmguard.guard.errors import UserError
from vlmguard.guard.rewriter import Rewriter
from vlmguard.training.finetune.checkpoints import begin, put_result, saving_errors
from vlmguard.training.finetune.config import TrainConfig
from vlmguard.training.finetune.train import main

Train = Callable[..., tuple[int, str]]

SECRETS = ("hub-token-444", "judge-key-555")

QUICK = {
    "per_device_train_batch_size": 2,
    "gradient_checkpointing": False,
    "eval_strategy": "no",
    "logging_steps": 1,
    "lr_scheduler_type": "constant",
    "learning_rate": 1e-3,
}


def history(folder: Path) -> list[dict[str, Any]]:
    """The log of the last checkpoint."""
    last = max(folder.glob("checkpoint-*"), key=lambda each: int(each.name.split("-")[1]))
    return list(json.loads((last / "trainer_state.json").read_text())["log_history"])


def quick(data: Path) -> dict[str, Any]:
    """Settings of a short run on a tiny model."""
    return QUICK | {"model": str(checkpoint("qwen2_vl")), "data": str(data)}


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All weights of a tiny model, trained until it knows its four rows by heart."""
    work = tmp_path_factory.mktemp("learned")
    rows = [export_row(index, benign=index % 2 == 0) for index in range(4)]
    settings = QUICK | {
        "model": str(build_qwen2_vl(work / "base")),
        "data": str(write_export(work / "data", rows=rows, validation_rows=rows)),
        "output_dir": str(work / "out"),
        "peft": "none",
        "learning_rate": 4e-3,
        "per_device_train_batch_size": 4,
        "max_steps": 70,
        "eval_strategy": "steps",
        "eval_steps": 70,
        "eval_on_start": True,
        "save_strategy": "steps",
        "save_steps": 70,
        "quality_max_tokens": 120,
        "logging_steps": 10,
        "hub_token": SECRETS[0],
        "grader": {"model": "openai/judge", "model_args": {"api_key": SECRETS[1]}},
    }
    (work / "run.yaml").write_text(yaml.safe_dump(settings))
    said, told = io.StringIO(), io.StringIO()
    with redirect_stdout(said), redirect_stderr(told):
        assert main(["--config", str(work / "run.yaml")]) == 0
    (work / "said").write_text(said.getvalue())
    (work / "told").write_text(told.getvalue())
    return work


def test_progress_is_said_in_lines_and_the_way_on_at_the_end(learned: Path) -> None:
    said = (learned / "said").read_text().splitlines()

    assert [line for line in said if not re.match(r"step \d+/70  [a-z]", line)] == []
    assert sum("rows/s  left " in line for line in said) == 7
    assert any(line.startswith("step 70/70  validation  loss ") for line in said)
    told = (learned / "told").read_text()
    assert "\r" not in told
    assert told.splitlines()[-1] == (
        "next: inspect eval vlmguard/BENCHMARK --solver vlmguard -S prompt=1 --model MODEL "
        f"--model-role grader=JUDGE --model-role rewriter=hf-vlm/{learned / 'out'}"
    )


def test_the_loss_falls_and_the_rewrites_get_right(learned: Path) -> None:
    log = history(learned / "out")
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert losses[-1] < 0.05 < 1 < losses[0]
    before, after = (entry for entry in log if "eval_format_rate" in entry)
    assert before["eval_format_rate"] == 0.0
    for rate in ("eval_format_rate", "eval_intent_kept", "eval_benign_unchanged"):
        assert after[rate] == 1.0
    assert any("eval_loss" in entry for entry in log)


async def test_the_trained_checkpoint_rewrites_as_an_inspect_model(learned: Path) -> None:
    model = get_model(f"hf-vlm/{learned / 'out'}", memoize=False)
    try:
        for index in range(4):
            row = export_row(index, benign=index % 2 == 0)
            rewrite = await Rewriter(model).rewrite(row["images"][0], row["original"])
            assert rewrite.failure is None
            assert rewrite.rewritten == row["rewritten"]
            assert rewrite.reasoning == row["reasoning"]
    finally:
        model.api.close()


def test_the_vision_tower_is_untouched(learned: Path) -> None:
    base, trained = weights(learned / "base"), weights(learned / "out")
    assert base.keys() == trained.keys()
    for name, tensor in base.items():
        assert torch.equal(tensor, trained[name]) is ("visual" in name), name


def test_no_file_of_a_run_holds_a_secret(learned: Path) -> None:
    files = [path for path in (learned / "out").rglob("*") if path.is_file()]
    content = {path: path.read_bytes() for path in files}
    for secret in SECRETS:
        assert [path for path, data in content.items() if secret.encode() in data] == []
    assert "hub_token" in (learned / "out" / "README.md").read_text()
    assert json.loads((learned / "out" / "train_config.json").read_text())["grader"]["model"]


def test_another_token_is_another_run_that_is_refused_without_naming_it(tmp_path: Path) -> None:
    def config(token: str) -> TrainConfig:
        grader = {"model": "m", "model_args": {"token": token}}
        return TrainConfig(data="data", output_dir="out", grader=grader)

    begin(tmp_path, config("first-1"), "0", rows_per_step=1, main=True)
    (tmp_path / "README.md").touch()
    begin(tmp_path, config("first-1"), "0", rows_per_step=1, main=True)
    with pytest.raises(UserError, match="grader") as refused:
        begin(tmp_path, config("other-2"), "0", rows_per_step=1, main=True)
    assert "first-1" not in str(refused.value)
    assert "other-2" not in str(refused.value)


def test_the_card_says_what_was_done(learned: Path) -> None:
    card = (learned / "out" / "README.md").read_text()
    _, head, body = card.split("---\n", 2)
    front = yaml.safe_load(head)
    assert "base_model" not in front  # a local folder is not a model of the hub
    assert f"# Rewriter from {learned / 'base'}" in body
    assert front["library_name"] == "transformers"
    for words in (
        "--model-role rewriter=hf-vlm/THIS_FOLDER",
        "- split `train`: 4 rows",
        '"made": 12',
        "| benign requests left as they are | 1 |",
        '"learning_rate": 0.004',
        f"- transformers {transformers.__version__}",
    ):
        assert words in body, words


async def test_the_adapter_loads_beside_its_base(train: Train, data: Path, tmp_path: Path) -> None:
    """The shipped adapter answers through `hf-vlm/` as the trained model itself does."""
    base, out = checkpoint("qwen2_vl"), tmp_path / "out"
    status, _ = train(
        **QUICK | {"learning_rate": 0.02, "max_steps": 4, "output_dir": str(out)},
        max_pixels=56 * 56,
        model=str(base),
        data=str(data),
    )
    assert status == 0
    card = (out / "README.md").read_text()
    (role,) = re.findall(r'--model-role rewriter="(.*)"', card)
    # Without the bound, its images would be larger than in training.
    arguments = {"adapter": "THIS_FOLDER", "max_pixels": 56 * 56}
    assert yaml.safe_load(role) == {"model": f"hf-vlm/{base}", "model_args": arguments}
    saved = weights(out)
    assert len(saved) == 28
    stem = "base_model.model.model.language_model.layers."
    assert all(name.startswith(stem) for name in saved)
    assert f"{stem}0.self_attn.q_proj.lora_A.weight" in saved
    config = json.loads((out / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(base)
    # vLLM's loader refuses these.
    assert config["modules_to_save"] is None
    assert config["bias"] == "none"
    assert not (out / "training_args.bin").exists()

    reference = peft.PeftModel.from_pretrained(
        transformers.AutoModelForImageTextToText.from_pretrained(base), out
    ).merge_and_unload()
    reference.save_pretrained(tmp_path / "merged")
    for file in base.iterdir():
        if not (tmp_path / "merged" / file.name).exists():
            shutil.copy(file, tmp_path / "merged")
    replies = []
    for name, arguments in (
        (base, {"adapter": str(out)}),
        (tmp_path / "merged", {}),
        (base, {}),
    ):
        model = get_model(f"hf-vlm/{name}", memoize=False, max_pixels=56 * 56, **arguments)
        row = export_row(3)
        message = Rewriter(model, prompt=1).message(row["images"], row["original"])
        replies.append((await model.generate([message], config={"max_tokens": 12})).completion)
        model.api.close()
    assert replies[0] == replies[1]
    assert replies[0] != replies[2]


def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    train: Train, data: Path, tmp_path: Path
) -> None:
    settings = quick(data) | {
        "save_strategy": "steps",
        "save_steps": 2,
    }
    whole, broken = str(tmp_path / "whole"), str(tmp_path / "broken")
    assert train(**settings, output_dir=whole, max_steps=4)[0] == 0
    assert train(**settings, output_dir=broken, max_steps=2)[0] == 0
    # Killed while saving: a checkpoint without its state.
    shutil.copytree(tmp_path / "broken/checkpoint-2", tmp_path / "broken/checkpoint-3")
    (tmp_path / "broken/checkpoint-3/trainer_state.json").write_text('{"global_st')
    assert train(**settings, output_dir=broken, max_steps=4)[0] == 0
    card = (tmp_path / "broken/README.md").read_text()
    assert "| training loss (mean over the last start) | " in card
    # Started again without steps left: no figures are written.
    assert train(**settings, output_dir=broken, max_steps=4)[0] == 0
    again = (tmp_path / "broken/README.md").read_text()
    assert "last start" not in again
    loss = [line for line in card.splitlines() if line.startswith("| training loss (at the end) |")]
    assert len(loss) == 1
    assert loss[0] in again
    steps = [entry["step"] for entry in history(tmp_path / "broken") if "loss" in entry]
    assert steps == [1, 2, 3, 4]  # the first two come from the checkpoint
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "broken")
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name])


def test_another_runs_checkpoints_are_not_gone_on_from(
    train: Train, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    settings = quick(data) | {
        "output_dir": str(out),
        "max_steps": 1,
        "save_strategy": "steps",
        "save_steps": 1,
    }
    assert train(**settings)[0] == 0
    before = weights(out)
    for change, words in (
        ({"lora_r": 4}, "lora_r (16 -> 4)"),
        ({"lora_dropout": 0.0}, "lora_dropout (0.05 -> 0.0)"),
        ({"max_pixels": 3136}, "max_pixels (None -> 3136)"),
        ({"dtype": "bfloat16"}, "dtype (auto -> bfloat16)"),
        ({"seed": 7}, "seed (None -> 7)"),
        ({"learning_rate": 1e-4}, "learning_rate (0.001 -> 0.0001)"),
        ({"gradient_accumulation_steps": 2}, "rows_per_step (2 -> 4)"),
    ):
        status, told = train(**settings | change)
        assert status == 2
        assert f"checkpoints of another run; changed: {words}" in told
    status, told = train(**settings, resume=False)
    assert status == 2
    assert "resume is false" in told
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(out).items())
    (out / "train_config.json").unlink()
    status, told = train(**settings)
    assert status == 2
    assert "nobody knows of which run" in told


def test_what_leaves_the_result_alone_may_change_on_the_way(
    train: Train, data: Path, tmp_path: Path
) -> None:
    settings = quick(data) | {
        "output_dir": str(tmp_path / "out"),
        "save_strategy": "steps",
        "save_steps": 1,
    }
    assert train(**settings, max_steps=1)[0] == 0
    shutil.copytree(data, tmp_path / "moved")
    changed = {"data": str(tmp_path / "moved"), "max_steps": 2, "logging_steps": 2}
    # The same number of rows per step, in other batches.
    changed |= {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}
    assert train(**settings | changed)[0] == 0
    assert (tmp_path / "out/checkpoint-2").is_dir()


def test_another_runs_result_is_not_overwritten(train: Train, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    settings = quick(data) | {
        "output_dir": str(out),
        "max_steps": 1,
        "save_strategy": "no",
    }
    assert train(**settings)[0] == 0
    before = weights(out)
    status, told = train(**settings | {"lora_r": 4})
    assert status == 2
    assert "holds the result of another run; changed: lora_r (16 -> 4)" in told
    (out / "train_config.json").write_text("[]")
    status, told = train(**settings)
    assert status == 2
    assert "nobody knows of which run" in told
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(out).items())


def test_an_error_that_is_no_failed_write_is_not_told_as_one(tmp_path: Path) -> None:
    for error in (TypeError("a bug"), RuntimeError("shapes differ"), KeyError("key")):
        with pytest.raises(type(error)), saving_errors(tmp_path):
            raise error


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file may grow beyond `limit` bytes: writes fail as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("fails", ["optimizer.pt", "adapter_model.safetensors", "tokenizer.json"])
def test_a_full_disk_leaves_what_was_saved_before(
    train: Train, data: Path, tmp_path: Path, fails: str
) -> None:
    out = tmp_path / "out"
    settings = quick(data) | {
        "output_dir": str(out),
        "save_strategy": "steps",
        "save_steps": 1,
    }
    assert train(**settings, max_steps=1)[0] == 0
    before = weights(out)
    size = (out / "checkpoint-1" / fails).stat().st_size
    with full_disk(size - 1000):
        status, told = train(**settings, max_steps=2)
    assert status == 2, told
    assert f"Saving to {out} failed" in told
    assert "checkpoint-1 is complete" in told
    assert not (out / "checkpoint-2").exists()
    # The result and the checkpoint of before still load, and the same command goes on from there.
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(out).items())
    assert train(**settings, max_steps=2)[0] == 0
    assert [entry["step"] for entry in history(out) if "loss" in entry] == [1, 2]


@pytest.mark.parametrize("fails", ["adapter_model.safetensors", "tokenizer.json"])
def test_a_full_disk_at_the_end_leaves_the_earlier_result(
    train: Train, data: Path, tmp_path: Path, fails: str
) -> None:
    out = tmp_path / "out"
    settings = quick(data) | {
        "output_dir": str(out),
        "save_strategy": "no",
    }
    assert train(**settings, max_steps=1)[0] == 0
    before = weights(out)
    with full_disk((out / fails).stat().st_size - 1000):
        status, told = train(**settings, max_steps=2)
    assert status == 2, told
    assert f"Saving to {out} failed" in told
    assert "no checkpoint was complete yet" in told
    assert not (out / ".unfinished").exists()
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(out).items())
    # A kill at that point leaves the folder; the next result holds none of its files.
    (out / ".unfinished").mkdir()
    (out / ".unfinished/left_over.json").write_text("{}")
    assert train(**settings, max_steps=2)[0] == 0
    assert not (out / "left_over.json").exists()
    assert not (out / ".unfinished").exists()
    assert not all(torch.equal(tensor, before[name]) for name, tensor in weights(out).items())


def test_a_result_with_folders_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    class Trainer:
        def save_model(self, folder: str, _internal_call: bool) -> None:
            for name in ("weights", "additional_chat_templates/a", "ref/weights"):
                file = Path(folder) / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(str(steps))

        def is_world_process_zero(self) -> bool:
            return True

    for steps in (1, 2):
        found = put_result(Trainer(), tmp_path, 2)
        assert found == ["additional_chat_templates", "rewriter.json", "weights"]
        assert (tmp_path / "additional_chat_templates/a").read_text() == str(steps)
    # The adapter that GRPO keeps to compare with is no part of the result.
    assert sorted(path.name for path in tmp_path.iterdir()) == found


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": "no/such-checkpoint"}, "Checkpoint no/such-checkpoint cannot be loaded"),
        ({"lorar": 3}, "unknown key lorar"),
        ({"data": "no-such-folder"}, "no such folder: no-such-folder"),
    ],
)
def test_mistakes_are_told_in_one_line(
    train: Train, data: Path, tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    status, told = train(**{"data": str(data), "output_dir": str(tmp_path / "o"), **settings})
    assert status == 2
    assert words in told
    assert "Traceback" not in told


def test_the_command_line_wins_over_the_file(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--config", "qwen2-vl-7b-lora", f"data={data}", f"output_dir={tmp_path / 'out'}"]
    quick = ["bf16=false", "max_steps=1", "eval_strategy=no", "per_device_train_batch_size=1"]
    quick += ["gradient_accumulation_steps=1", "max_pixels=null", "dataloader_num_workers=0"]
    quick += [f"model={checkpoint('qwen2_vl')}"]
    # Flags may stand between the settings.
    assert command(["train", *words, *quick, "--method", "sft", "lora_r=4"]) == 0
    run = json.loads((tmp_path / "out" / "train_config.json").read_text())
    assert run["lora_r"] == 4
    assert math.isclose(run["trainer"]["learning_rate"], 1e-4)
    for wrong in ("lora_r", "--lora-r=4"):
        assert main([*words, "--method", "sft", wrong]) == 2
        assert f"{wrong!r}: settings on the command line are KEY=VALUE" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_train_together(data: Path, tmp_path: Path) -> None:
    settings = quick(data) | {
        "output_dir": str(tmp_path / "out"),
        "max_steps": 1,
        "save_strategy": "steps",
        "save_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 1,
        "quality_max_tokens": 3,
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "vlmguard.training.finetune.train", "--config", str(tmp_path / "run.yaml")]
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "out/checkpoint-1/rng_state_1.pth").exists()  # the second one's
    assert len(weights(tmp_path / "out")) == 28
    quality = [entry for entry in history(tmp_path / "out") if "eval_format_rate" in entry]
    assert len(quality) == 1  # logged once, for both
