"""`push_to_hub` uploads exactly the finished result."""

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch
import transformers
import yaml
from support.checkpoints import checkpoint
from support.training_data import write_export
from support.upload_server import UploadHub, upload_server

from vlmguard.training.finetune.train import main

pytestmark = pytest.mark.slow

TOKEN = "hf_0123456789abcdef"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[UploadHub]:
    with upload_server(TOKEN) as found:
        constants = huggingface_hub.constants
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        monkeypatch.setattr(constants, "ENDPOINT", found.endpoint)
        monkeypatch.setattr(transformers.utils.hub, "_hf_api", None)
        yield found


def train(tmp_path: Path, **changes: object) -> int:
    torch.set_num_threads(1)
    if not (tmp_path / "data").exists():
        write_export(tmp_path / "data", train=2, validation=2)
    settings = {
        "model": str(checkpoint("qwen2_vl")),
        "data": str(tmp_path / "data"),
        "output_dir": str(tmp_path / "rewriter"),
        "max_steps": 1,
        "save_strategy": "steps",
        "save_steps": 1,
        "eval_strategy": "no",
        "per_device_train_batch_size": 1,
        "gradient_checkpointing": False,
        "report_to": "none",
        "push_to_hub": True,
        "hub_token": TOKEN,
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings | changes))
    return main(["--config", str(tmp_path / "run.yaml")])


def test_what_lies_in_the_finished_folder_is_uploaded_once(
    hub: UploadHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.full = True
    assert train(tmp_path) == 2
    told = capsys.readouterr().err
    out = tmp_path / "rewriter"
    assert f"The result is complete in {out}, but was not uploaded to somebody/rewriter" in told
    assert "Storage quota exceeded" in told
    assert TOKEN not in told
    assert hub.commits == []
    # The same command again trains no steps, and uploads.
    hub.full = False
    assert train(tmp_path) == 0
    (commit,) = hub.commits
    result = {file.name: file.read_bytes() for file in out.iterdir() if file.is_file()}
    assert commit == result
    assert commit.keys() >= {"README.md", "adapter_model.safetensors", "train_config.json"}
    assert b"# Rewriter from" in commit["README.md"]
    assert not any(TOKEN.encode() in content for content in commit.values())
    assert (out / "checkpoint-1").is_dir()


def test_a_hub_that_refuses_is_told_before_the_first_step(
    hub: UploadHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path, hub_token="hf_another0123456789") == 2
    assert "push_to_hub: the repository cannot be made or found" in capsys.readouterr().err
    assert not (tmp_path / "rewriter/checkpoint-1").exists()


def test_uploads_on_the_way_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path, hub_strategy="every_save") == 2
    told = capsys.readouterr().err
    assert "hub_strategy has no effect here; use push_to_hub, which uploads the finished" in told
