"""All loaders name an unusable PEFT adapter and its fault."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers

from vlmguard.guard.aux_models.base import Checkpoint
from vlmguard.guard.aux_models.protector import load_detoxifier
from vlmguard.guard.errors import UserError
from vlmguard.guard.hf_vlm.checkpoint_key import weights_key
from vlmguard.guard.hf_vlm.loading import Weights
from vlmguard.training.finetune.base_model import load_model
from vlmguard.training.finetune.config import TrainConfig

User = Callable[[Path, Path], Any]


def model_api(base: Path, adapter: Path) -> None:
    Weights(weights_key(str(base), {"device": "cpu"})).check_adapter(str(adapter))


def detoxifier(base: Path, adapter: Path) -> None:
    load_detoxifier(Checkpoint(str(adapter), device="cpu", base=str(base)))


def training(base: Path, adapter: Path) -> None:
    config = TrainConfig(data="rows", output_dir="out", model=str(base), adapter=str(adapter))
    load_model(config, bf16=False)


@pytest.fixture(params=[model_api, detoxifier, training])
def user(request: pytest.FixtureRequest) -> User:
    found: User = request.param
    return found


@pytest.fixture
def base(user: User, repo: Path) -> Path:
    """The microworld's smallest model of the kind that the user takes."""
    kind = "detoxifier" if user is detoxifier else "qwen2-vl"
    return repo / "training/microworld/weights" / kind


@pytest.fixture
def adapter(user: User, base: Path, tmp_path: Path) -> Path:
    vlm, lm = transformers.AutoModelForImageTextToText, transformers.AutoModelForCausalLM
    model = (lm if user is detoxifier else vlm).from_pretrained(base)
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    peft.get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def refused(user: User, base: Path, adapter: Path) -> str:
    with pytest.raises(UserError) as error:
        user(base, adapter)
    assert str(adapter) in str(error.value)
    return str(error.value)


def test_a_good_one_is_taken(user: User, base: Path, adapter: Path) -> None:
    user(base, adapter)


def test_a_file_that_is_cut_short(user: User, base: Path, adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert "adapter_model.safetensors is broken, cut short" in refused(user, base, adapter)


def test_a_pickle_file(user: User, base: Path, adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").unlink()
    torch.save({"x": Path}, adapter / "adapter_model.bin")
    assert "Convert it to safetensors" in refused(user, base, adapter)


@pytest.mark.parametrize("change", ["more", "less"])
def test_tensors_without_a_counterpart(user: User, base: Path, adapter: Path, change: str) -> None:
    """PEFT itself only warns: the adapter would differ from the trained one."""
    file = adapter / "adapter_config.json"
    config = json.loads(file.read_text())
    layers = {
        "more": {"layers_to_transform": [0]},
        "less": {"target_modules": ["q_proj", "k_proj"]},
    }
    file.write_text(json.dumps(config | layers[change]))
    told = refused(user, base, adapter)
    assert "does not fit" in told
    assert f"it was made for {base}" in told
    assert "without a counterpart" in told
