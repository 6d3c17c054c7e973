"""Training rows: which may be used, and how the model sees them."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from PIL import Image, ImageCms
from support.icc import SRGB, rgb_profile
from support.synthesis import draw_image, good_reply, raw_row
from support.training_data import export_row, write_export

from vlmguard.guard.cards import cards
from vlmguard.guard.errors import UserError
from vlmguard.guard.images.prepare import from_data_uri, prepare_image, to_data_uri
from vlmguard.guard.rewriter.prompts import DIRECT_FORMAT, REASONING_FORMAT
from vlmguard.training.dataset.export import export
from vlmguard.training.finetune.config import TrainConfig
from vlmguard.training.finetune.traindata import (
    TrainingData,
    as_inference_shows,
    load_training_data,
)
from vlmguard.training.synthesize import synthesize


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


FIVE = [f"vlguard/{number}" for number in range(5)]


@pytest.mark.parametrize(
    ("leaks", "strict", "blocked"),
    [
        ({"images": ["siuo/1"], "pairs": [], "texts": []}, False, "1 images"),
        ({"images": [], "pairs": ["siuo/1", "siuo/2"], "texts": []}, False, "2 pairs"),
        ({"images": ["a"], "pairs": ["b"], "texts": FIVE}, False, "1 images and 1 pairs"),
        ({"images": [], "pairs": [], "texts": FIVE}, True, "5 texts"),
        ({"images": [], "pairs": [], "texts": FIVE}, False, None),
        ({"images": [], "pairs": [], "texts": []}, True, None),
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
    assert told is (leaks.get("texts") == FIVE)


@pytest.fixture
def synthesis_log(tmp_path: Path) -> Path:
    """The log of four rows, synthesized by a scripted reasoner."""

    def reasoner(messages: list[Any], *_: Any) -> ModelOutput:
        output = ModelOutput.from_content("reasoner", good_reply(messages[-1].text))
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output

    rows = [raw_row(number) for number in range(4)]
    for number in range(4):
        draw_image(tmp_path / f"raw/images/{number}.png", number)
    (tmp_path / "raw/rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (log,) = inspect_eval(
        synthesize(str(tmp_path / "raw/rows.jsonl")),
        model_roles={"reasoner": get_model("mockllm/reasoner", custom_outputs=reasoner)},
        display="none",
        log_dir=str(tmp_path / "logs"),
    )
    return Path(log.location)


@pytest.mark.parametrize("leak_key", ["image", "pair"])
def test_leaks_that_the_export_kept_block(
    tmp_path: Path, synthesis_log: Path, caplog: pytest.LogCaptureFixture, leak_key: Any
) -> None:
    """A real export of `vlmguard export --on-leak keep`."""
    own = tmp_path / "raw/own.jsonl"
    own.write_text(json.dumps({"image": "images/1.png", "prompt": "What colour is this?"}) + "\n")
    export(
        [synthesis_log],
        tmp_path / "data",
        validation=0.3,
        own_sets=[own],
        leak_key=leak_key,
        on_leak="keep",
    )
    if leak_key == "pair":  # the image alone does not block, but is reported
        load(tmp_path / "data")
        assert "1 images are in a test set, too" in caplog.text
    else:
        with pytest.raises(UserError, match="shares 1 images with test sets"):
            load(tmp_path / "data")
    sets = ", ".join(name for name, card in cards().benchmarks.items() if card.layouts)
    assert f"nobody has compared these rows with {sets}. " in caplog.text


def test_rows_that_nobody_compared_are_pointed_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_export(tmp_path / "data", train=2, validation=2)
    for provenance in ({}, {"leaks": {"checked": {}, "unchecked": ["siuo"], "images": []}}):
        caplog.clear()
        (folder / "provenance.json").write_text(json.dumps(provenance))
        load(folder)
        assert "nobody has compared these rows with the test sets" in caplog.text


def test_what_the_comparison_left_out_or_let_pass_is_pointed_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leaks = {"checked": {"siuo": {"items": 2}}, "unchecked": ["figstep", "vlguard"], "images": []}
    folder = write_export(tmp_path / "a", train=2, validation=2, leaks=leaks)
    load(folder)
    assert "nobody has compared these rows with figstep, vlguard." in caplog.text
    caplog.clear()
    leaks |= {"unchecked": [], "shared_images": ["siuo/1"]}
    load(write_export(tmp_path / "b", train=2, validation=2, leaks=leaks))
    assert "1 images are in a test set, too" in caplog.text
    assert "nobody has compared" not in caplog.text


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
    files = sorted(folder.rglob("*"))
    data = load(folder, targets="direct")
    assert data.targets == "direct"
    row = data.train.with_transform(as_inference_shows((), drop_reasoning=data.drop_reasoning))[1]
    assert sorted(folder.rglob("*")) == files  # the user's folder may be read-only
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
    shown = as_inference_shows(("<image>",), drop_reasoning=False)(batch)
    assert shown["images"][0][0].mode == "RGB"
    assert shown["images"][0][0].getpixel((0, 0)) == (255, 255, 255)  # laid on white
    text = shown["prompt"][0][0]["content"][1]["text"]
    assert "What is < image> here?" in text
    assert "<image>" not in text
    assert "<image>" in row["prompt"][0]["content"][1]["text"]  # the stored row stays


def noise(size: tuple[int, int], mode: str) -> Image.Image:
    picture = Image.effect_noise(size, 80)
    return picture if mode == "L" else Image.merge("RGB", [picture] * 3).convert(mode)


SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SWAPPED = rgb_profile("Swapped", SRGB[::-1])


@pytest.mark.parametrize(
    ("mode", "size", "suffix", "profile"),
    [
        ("L", (64, 64), "jpg", None),
        ("L", (2100, 2000), "jpg", None),  # above the size up to which encoding is lossless
        ("RGB", (2100, 2000), "jpg", SRGB_PROFILE),
        ("RGB", (64, 64), "png", SWAPPED),
        ("RGBA", (2100, 2000), "png", SWAPPED),
        ("P", (64, 64), "png", None),
    ],
)
def test_a_picture_is_what_inference_makes_of_its_file(
    tmp_path: Path, mode: str, size: tuple[int, int], suffix: str, profile: bytes | None
) -> None:
    file = tmp_path / f"picture.{suffix}"
    noise(size, mode).save(file, icc_profile=profile)
    inferred = from_data_uri(to_data_uri(prepare_image(file).reference))
    batch = {"images": [[Image.open(file)]]}
    ((trained,),) = as_inference_shows((), drop_reasoning=False)(batch)["images"]
    assert trained.mode == "RGB"
    assert trained.tobytes() == inferred.tobytes()


def test_a_grey_picture_is_not_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[str] = []
    monkeypatch.setattr(Image.Image, "save", lambda *args, **rest: saved.append("again"))
    batch = {"images": [[noise((64, 64), "L")]]}
    as_inference_shows((), drop_reasoning=False)(batch)
    assert saved == []


def test_a_transparent_colour_is_laid_on_white(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png", transparency=(255, 0, 0))
    batch = {"images": [[Image.open(tmp_path / "a.png")]]}
    ((shown,),) = as_inference_shows((), drop_reasoning=False)(batch)["images"]
    assert shown.getpixel((0, 0)) == (255, 255, 255)
