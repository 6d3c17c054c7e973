"""An interrupted run ends exactly like an undisturbed one, for all kinds of training."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.checkpoints import BUILDERS, checkpoint
from support.training_data import weights

Train = Callable[..., tuple[int, str]]

QUICK = {
    "per_device_train_batch_size": 2,
    "gradient_checkpointing": False,
    "eval_strategy": "no",
    "save_strategy": "steps",
    "save_steps": 2,
    "logging_steps": 1,
    "learning_rate": 2e-3,
    "max_steps": 4,
}


def losses(folder: Path) -> list[float]:
    state = json.loads((folder / "checkpoint-4/trainer_state.json").read_text())
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


def cut_off(whole: Path, broken: Path) -> None:
    """The files on the disk after a kill after step 3."""
    broken.mkdir()
    shutil.copy(whole / "train_config.json", broken)
    shutil.copytree(whole / "checkpoint-2", broken / "checkpoint-2")


@pytest.mark.parametrize("peft", ["none", "lora"])
@pytest.mark.parametrize("name", BUILDERS)
def test_a_run_that_was_cut_off_ends_as_one_that_was_not(
    name: str, peft: str, train: Train, data: Path, tmp_path: Path
) -> None:
    settings = QUICK | {"model": str(checkpoint(name)), "data": str(data), "peft": peft}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert train(**settings, output_dir=str(whole))[0] == 0
    cut_off(whole, broken)
    assert train(**settings, output_dir=str(broken))[0] == 0
    assert losses(broken) == losses(whole)
    first, second = weights(whole), weights(broken)
    assert first.keys() == second.keys()
    for key, tensor in first.items():
        assert torch.equal(tensor, second[key]), key


@pytest.mark.parametrize("peft", ["none", "lora"])
def test_the_best_checkpoint_is_what_is_kept(
    peft: str, train: Train, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    status, told = train(
        **QUICK
        | {"save_steps": 1, "save_total_limit": 3, "max_steps": 2}
        | {"eval_strategy": "steps", "eval_steps": 1, "load_best_model_at_end": True}
        | {"metric_for_best_model": "loss", "greater_is_better": True},  # so that it is the first
        model=str(checkpoint("qwen2_vl")),
        data=str(data),
        output_dir=str(out),
        peft=peft,
        quality_rows=0,
    )
    assert status == 0, told
    kept = weights(out)
    for step, same in ((1, True), (2, False)):
        saved = weights(out / f"checkpoint-{step}")
        assert all(torch.equal(tensor, kept[key]) for key, tensor in saved.items()) is same


@pytest.mark.parametrize("peft", ["none", "lora"])
def test_a_checkpoint_that_lacks_weights_is_not_gone_on_from(
    peft: str, train: Train, data: Path, tmp_path: Path
) -> None:
    settings = QUICK | {"model": str(checkpoint("qwen2_vl")), "data": str(data), "peft": peft}
    whole = tmp_path / "whole"
    assert train(**settings | {"max_steps": 2}, output_dir=str(whole))[0] == 0
    for case in ("missing", "another", "cut short"):
        broken = tmp_path / case.replace(" ", "_")
        cut_off(whole, broken)
        (file,) = (broken / "checkpoint-2").glob("*model.safetensors")
        saved = load_file(file)
        key = next(key for key in saved if "q_proj" in key)
        tensor = saved.pop(key)
        if case == "another":
            saved[key.replace("q_proj", "r_proj")] = tensor
        save_file(saved, file, metadata={"format": "pt"})
        if case == "cut short":
            file.write_bytes(file.read_bytes()[:-100])
        status, told = train(**settings, output_dir=str(broken))
        assert status == 2
        assert "checkpoint-2" in told
        assert "q_proj" in told or case == "cut short"


def test_checkpoints_of_older_versions_are_refused(
    train: Train, data: Path, tmp_path: Path
) -> None:
    """They may hold weights that were reset to the base's; those of LoRA never were."""
    for peft, wanted in (("none", 2), ("lora", 0)):
        settings = QUICK | {
            "model": str(checkpoint("qwen2_vl")),
            "data": str(data),
            "peft": peft,
            "output_dir": str(tmp_path / peft),
            "save_steps": 1,
        }
        assert train(**settings | {"max_steps": 1})[0] == 0
        file = tmp_path / peft / "train_config.json"
        run = json.loads(file.read_text())
        del run["format"]  # as it was before
        file.write_text(json.dumps(run))
        status, told = train(**settings | {"max_steps": 2})
        assert status == wanted, told
        named = f"{tmp_path / peft / 'checkpoint-1'} was written by an older vlmguard"
        assert (named in told) is (wanted == 2)


def test_a_checkpoint_without_the_optimizers_states_is_not_gone_on_from(
    train: Train, data: Path, tmp_path: Path
) -> None:
    settings = QUICK | {
        "model": str(checkpoint("qwen2_vl")),
        "data": str(data),
        "output_dir": str(tmp_path / "out"),
        "save_steps": 1,
        "save_only_model": True,
    }
    assert train(**settings | {"max_steps": 1})[0] == 0
    status, told = train(**settings)
    assert status == 2
    assert "checkpoint-1 cannot be gone on from: it has no optimizer.pt, scheduler.pt" in told
