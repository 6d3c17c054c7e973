"""One vector for image and text: CLIP's features, joined and normalised."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from support.auxiliaries import build_clip
from support.scripted import picture

from vlmguard.guard.aux_models.base import Checkpoint, in_worker
from vlmguard.guard.aux_models.clip import pair_features
from vlmguard.guard.images.prepare import from_data_uri


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_clip(tmp_path_factory.mktemp("clip"))


async def test_the_raw_features_are_joined_and_the_whole_has_length_one(clip: Path) -> None:
    pairs = [(picture("red"), "a red thing"), (picture("blue"), "nothing at all")]
    found = await in_worker(pair_features, Checkpoint(str(clip)), pairs)

    model = transformers.CLIPModel.from_pretrained(clip).eval()
    processor = transformers.CLIPProcessor.from_pretrained(clip)
    inputs = processor(
        text=[text for _, text in pairs],
        images=[from_data_uri(image) for image, _ in pairs],
        return_tensors="pt",
        padding=True,
    )
    with torch.no_grad():
        seen = model.visual_projection(model.vision_model(inputs["pixel_values"])[1])
        read = model.text_projection(
            model.text_model(inputs["input_ids"], inputs["attention_mask"])[1]
        )
    joined = np.concatenate([seen.numpy(), read.numpy()], axis=1)
    expected = joined / np.linalg.norm(joined, axis=1, keepdims=True)
    assert found.vectors == pytest.approx(expected, abs=1e-5)
    assert (found.calls, found.input_tokens) == (1, int(inputs["attention_mask"].sum()))
    assert found.seconds > 0


async def test_pairs_are_read_in_batches_and_keep_their_order(clip: Path) -> None:
    at = Checkpoint(str(clip))
    pairs = [(picture("red"), f"thing {'x' * number}") for number in range(40)]
    many = await in_worker(pair_features, at, pairs)
    assert many.vectors.shape[0] == 40
    assert many.calls == 2
    alone = await in_worker(pair_features, at, pairs[39:])
    assert many.vectors[39] == pytest.approx(alone.vectors[0], abs=1e-5)


async def test_a_text_beyond_77_tokens_is_cut(clip: Path) -> None:
    at = Checkpoint(str(clip))
    texts = ["x" * 75, "x" * 75 + " and much more " * 50]
    pairs = [(picture(), text) for text in texts]
    found = await in_worker(pair_features, at, pairs)
    short, long = found.vectors
    assert short == pytest.approx(long, abs=1e-5)
    assert found.cut == 1
