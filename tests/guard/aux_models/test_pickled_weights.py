"""Weights in pickle files: tensors are read, anything else is refused without running it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vlmguard.guard.aux_models.base import Checkpoint
from vlmguard.guard.aux_models.protector import load_detector, load_detoxifier
from vlmguard.guard.errors import UserError
from vlmguard.guard.hf_vlm.checkpoint_key import weights_key
from vlmguard.guard.hf_vlm.loading import Weights

Load = Callable[[str], Any]


class Evil:
    """Creates a file when it is fully unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def vlm(folder: str) -> None:
    Weights(weights_key(folder, {"device": "cpu"})).load()


@pytest.mark.parametrize(
    ("kind", "load"),
    [
        ("detector", lambda folder: load_detector(Checkpoint(folder, device="cpu"))),
        ("detoxifier", lambda folder: load_detoxifier(Checkpoint(folder, device="cpu"))),
        ("qwen2-vl", vlm),
    ],
)
def test_pickled_weights_say_what_to_do(kind: str, load: Load, repo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(repo / "training/microworld/weights" / kind, folder)
    (folder / "model.safetensors").unlink()
    torch.save({"x": Evil(tmp_path / "executed")}, folder / "pytorch_model.bin")

    with pytest.raises(UserError, match="Convert it to safetensors") as refused:
        load(str(folder))
    assert str(folder) in str(refused.value)
    assert "weights_only" not in str(refused.value)
    assert not (tmp_path / "executed").exists()


def test_a_pickled_adapter_says_what_to_do(repo: Path, tmp_path: Path) -> None:
    base = repo / "training/microworld/weights/qwen2-vl"
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    config = {"peft_type": "LORA", "base_model_name_or_path": str(base), "r": 4, "lora_alpha": 8}
    config |= {"target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    torch.save({"x": Evil(tmp_path / "executed")}, adapter / "adapter_model.bin")

    with pytest.raises(UserError, match="Convert it to safetensors"):
        Weights(weights_key(str(base), {"device": "cpu"})).check_adapter(str(adapter))
    assert not (tmp_path / "executed").exists()
