"""Training rows: what may be trained on, and how it is shown to the model."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from support.training_data import export_row, write_export

from vlmguard.errors import UserError
from vlmguard.rewriter import DIRECT_FORMAT, REASONING_FORMAT
from vlmguard.training.config import TrainConfig
from vlmguard.training.traindata import TrainingData, as_inference_shows, load_training_data


def load(folder: Path, *, evaluated: bool = True, **options: Any) -> TrainingData:
    return load_training_data(
        TrainConfig(data=str(folder), output_dir="unused", **options), evaluated=evaluated
    )


def test_rows_come_as_they_were_exported(tmp_path: Path) -> None:
    data = load(write_export(tmp_path / "data", train=3, validation=2))
    assert len(data.train) == 3
    assert data.validation is not None
    assert len(data.validation) == 2
    assert data.targets == "reasoning"
    assert data.train[1]["rewritten"] == "Describe the picture number 1 and be careful"


@pytest.mark.parametrize(
    ("leaks", "strict", "blocked"),
    [
        ({"images": ["siuo/1"], "pairs": [], "texts": []}, False, "1 images"),
        ({"images": 0, "pairs": 2, "texts": 0}, False, "2 pairs"),
        ({"images": 1, "pairs": 1, "texts": 5}, False, "1 images and 1 pairs"),
        ({"images": 0, "pairs": 0, "texts": 5}, True, "5 texts"),
        ({"images": 0, "pairs": 0, "texts": 5}, False, None),
        ({"images": [], "pairs": {}, "texts": []}, True, None),
        ({}, True, None),
    ],
)
def test_leaks_block(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    leaks: dict[str, Any],
    strict: bool,
    blocked: str | None,
) -> None:
    folder = write_export(tmp_path / "data", train=2, validation=2, leaks=leaks)
    if blocked:
        with pytest.raises(UserError, match=f"shares {blocked} with test sets"):
            load(folder, strict_text=strict)
        return
    with caplog.at_level(logging.WARNING):
        load(folder, strict_text=strict)
    told = "5 texts also occur in a test set" in caplog.text
    assert told is (leaks.get("texts") == 5)


def test_rows_that_nobody_compared_are_pointed_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_export(tmp_path / "data", train=2, validation=2)
    for provenance in ({}, {"leaks": {"checked": {}, "unchecked": ["siuo"], "images": []}}):
        caplog.clear()
        (folder / "provenance.json").write_text(json.dumps(provenance))
        load(folder)
        assert "nobody has compared these rows with the test sets" in caplog.text


@pytest.mark.parametrize("column", ["images", "completion", "benign", "original"])
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    folder = write_export(tmp_path / "data", train=2, validation=2, drop=column)
    with pytest.raises(UserError, match=rf"split `train` .* lacks the column\(s\) {column}\."):
        load(folder)


def test_an_empty_split_is_refused_where_it_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"split `train` .* is empty"):
        load(write_export(tmp_path / "a", train=0, validation=2))
    folder = write_export(tmp_path / "b", train=2, validation=0)
    with pytest.raises(UserError, match=r"split `validation` .* is empty.*eval_strategy: no"):
        load(folder)
    assert load(folder, evaluated=False).validation is None


def test_a_folder_that_is_no_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"provenance\.json is missing.*vlmguard export"):
        load(tmp_path)
    (tmp_path / "provenance.json").write_text("[]")
    with pytest.raises(UserError, match="must hold a JSON object"):
        load(tmp_path)
    (tmp_path / "provenance.json").write_text("{}")
    with pytest.raises(UserError, match="has no split `train`"):
        load(tmp_path)
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError, match=r"split `train` .* is no data set"):
        load(tmp_path)


def test_reasoning_can_be_left_out_but_not_made_up(tmp_path: Path) -> None:
    folder = write_export(tmp_path / "data", train=2, validation=2)
    row = load(folder, targets="direct").train[1]
    (reply,) = row["completion"][0]["content"]
    assert reply["text"] == "<prompt>Describe the picture number 1 and be careful</prompt>"
    asked = row["prompt"][0]["content"][1]["text"]
    assert asked.endswith(DIRECT_FORMAT)
    assert REASONING_FORMAT not in asked
    assert row["prompt"][0]["content"][0]["type"] == "image"
    assert row["images"][0].size == (64, 64)

    direct = write_export(tmp_path / "direct", train=2, validation=2, direct=True)
    assert load(direct).targets == "direct"
    with pytest.raises(UserError, match="was exported without reasoning"):
        load(direct, targets="reasoning")


def test_reasoning_cannot_be_left_out_of_prompts_in_another_wording(tmp_path: Path) -> None:
    row = export_row(0)
    row["prompt"][0]["content"][1]["text"] = "Rewrite this."
    folder = write_export(tmp_path / "data", rows=[row], validation=1)
    with pytest.raises(UserError, match="made with another wording"):
        load(folder, targets="direct")


def test_another_wording_is_pointed_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    row = export_row(0)
    row["prompt"][0]["content"][1]["text"] = "Rewrite this."
    load(write_export(tmp_path / "other", rows=[row], validation=1))
    assert "the prompts differ from the rewriter's present template" in caplog.text
    caplog.clear()
    load(write_export(tmp_path / "same", train=1, validation=1))
    assert caplog.text == ""


def test_the_identity_follows_data_and_targets(tmp_path: Path) -> None:
    folder = write_export(tmp_path / "data", train=2, validation=2)
    first = load(folder).sha256
    assert load(folder).sha256 == first
    assert load(folder, targets="direct").sha256 != first
    provenance = json.loads((folder / "provenance.json").read_text())
    (folder / "provenance.json").write_text(json.dumps(provenance | {"sources": {"other": 1}}))
    assert load(folder).sha256 != first


def test_rows_are_shown_as_inference_shows_them() -> None:
    transparent = export_row(0)["images"][0].convert("RGBA")
    transparent.putalpha(0)
    row = export_row(0, image=transparent, text="What is <image> here?")
    batch = {name: [row[name]] for name in ("images", "prompt", "completion")}
    shown = as_inference_shows(("<image>",))(batch)
    assert shown["images"][0][0].mode == "RGB"
    assert shown["images"][0][0].getpixel((0, 0)) == (255, 255, 255)  # laid on white
    text = shown["prompt"][0][0]["content"][1]["text"]
    assert "What is < image> here?" in text
    assert "<image>" not in text
    assert "<image>" in row["prompt"][0]["content"][1]["text"]  # the stored row stays
