"""Rows that a model cannot take, and a `max_length` that cuts replies, are found first."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.checkpoints import checkpoint
from support.training_data import export_row, write_export

from vlmguard.training.finetune import base_model as loading
from vlmguard.training.finetune.train import main


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that were loaded."""
    names: list[str] = []
    load = loading.load_model

    def noted(config: Any, **options: Any) -> Any:
        names.append(config.model)
        return load(config, **options)

    monkeypatch.setattr(loading, "load_model", noted)
    return names


def train(tmp_path: Path, *settings: str, **parts: Any) -> int:
    data = write_export(tmp_path / "data", **parts)
    words = [f"data={data}", f"output_dir={tmp_path / 'out'}", "save_strategy=no", "max_steps=1"]
    words += [f"model={checkpoint('qwen2_vl')}", "per_device_train_batch_size=2"]
    return main(["--config", "microworld", *words, "eval_strategy=no", *settings])


def test_a_bound_that_cuts_replies_is_refused_with_the_rows_and_the_length_needed(
    tmp_path: Path, loaded: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path, "max_length=40") == 2
    told = capsys.readouterr().err
    assert "cuts the reply of 8 of 8 rows, and leaves nothing of it to learn from in 8" in told
    assert all(f"made/{index} (" in told for index in range(5))
    assert "and 3 more. Set max_length to at least " in told
    longest = int(told.partition("at least ")[2].split()[0])
    assert train(tmp_path, f"max_length={longest - 1}") == 2
    assert "and leaves nothing of it to learn from in 0" in capsys.readouterr().err
    assert loaded == []
    assert train(tmp_path, f"max_length={longest}") == 0
    assert len(loaded) == 1


def test_one_long_row_among_others_is_named(
    tmp_path: Path, loaded: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [export_row(0), export_row(1), export_row(2, text="Describe it. " * 40)]
    assert train(tmp_path, "max_length=550", rows=rows) == 2
    told = capsys.readouterr().err
    assert "max_length=550 cuts the reply of 1 of 3 rows" in told
    assert "in 1: made/2 (" in told
    assert loaded == []


@pytest.mark.parametrize("split", ["rows", "validation_rows"])
@pytest.mark.parametrize("method", ["sft", "grpo"])
def test_a_picture_that_the_processor_refuses_is_named(
    method: str,
    split: str,
    tmp_path: Path,
    loaded: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    thin = [Image.new("RGB", size, "red") for size in ((1, 5000), (4000, 2))]
    rows = [export_row(0), *(export_row(3 + place, image=each) for place, each in enumerate(thin))]
    settings = [f"method={method}", "eval_strategy=steps"]
    if method == "grpo":
        settings += ["target=mockllm/model", "grader=mockllm/model", "train_vision=false"]
        settings += ["peft=lora", "per_device_train_batch_size=8"]
    assert train(tmp_path, *settings, **{split: rows}) == 2
    told = capsys.readouterr().err
    assert "the processor refuses 2 rows: made/3 (images: 1 x 5000): " in told
    assert "made/4 (images: 4000 x 2): " in told
    assert loaded == []
