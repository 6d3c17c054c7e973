"""CLIP: how close an image is to a text (ETA), and one vector for both of them (AdaShield)."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np

from vlmguard.guard.aux_models.base import Checkpoint, Reading, in_worker, load_with_processor
from vlmguard.guard.images.prepare import from_data_uri, to_data_uri
from vlmguard.guard.text.control_tokens import without_controls

__all__ = ["Features", "clip_similarity", "pair_features"]

_BATCH: Final = 32


@dataclass(frozen=True)
class Features:
    """Vectors of length 1, so that their products are cosines.

    Attributes:
        vectors: One row for each pair.
        calls: Number of calls (a batch is one).
        input_tokens: Text tokens read.
        seconds: Time in the calls, without loading and queueing.
        cut: Number of texts of which only the first 77 tokens, CLIP's length, were read.
    """

    vectors: "np.ndarray[tuple[int, int], Any]"
    calls: int
    input_tokens: int
    seconds: float
    cut: int = 0


async def clip_similarity(checkpoint: Checkpoint, images: list[str], texts: list[str]) -> Reading:
    """Cosine of images and texts in CLIP's space.

    Args:
        checkpoint: A CLIP model; loaded on first use.
        images: One image or more, as data URIs or paths.
        texts: One text or more; only the first 77 tokens, CLIP's length, are read.

    Returns:
        For each text the cosine (-1 to 1) to its closest image; `cut` counts longer texts.

    Raises:
        UserError: The checkpoint cannot be loaded or is not a CLIP model.
        ImageError: An image cannot be decoded.
    """
    return await in_worker(_similarity, checkpoint, images, texts)


def pair_features(checkpoint: Checkpoint, pairs: Sequence[tuple[str, str]]) -> Features:
    """One vector for an image and a text together: CLIP's two features, one behind the other.

    As in AdaShield, the features are joined as they are, and the whole has length 1 afterwards; so
    the longer of the two counts for more. Blocks until it is done: run it by `in_worker`.

    Args:
        checkpoint: A CLIP model; loaded on first use.
        pairs: Image (data URI or path) and text of each; only the first 77 tokens, CLIP's length,
            are read.

    Raises:
        UserError: The checkpoint cannot be loaded or is not a CLIP model.
        ImageError: An image cannot be decoded.
        RuntimeError: The model gave NaN or infinity.
    """
    import torch

    model, processor = _load(checkpoint)
    vectors = []
    tokens, cut, seconds = 0, 0, 0.0
    for first in range(0, len(pairs), _BATCH):
        batch = pairs[first : first + _BATCH]
        pictures = [from_data_uri(to_data_uri(image)) for image, _ in batch]
        start = time.monotonic()
        inputs = _inputs(model, processor, [text for _, text in batch], pictures)
        with torch.inference_mode():
            seen = model.get_image_features(pixel_values=inputs["pixel_values"]).pooler_output
            read = model.get_text_features(
                input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
            ).pooler_output
            joined = torch.nn.functional.normalize(torch.cat([seen, read], dim=1).float(), dim=1)
        vectors.append(joined.cpu().numpy())
        tokens += int(inputs["attention_mask"].sum())
        cut += _cut(model, processor, [text for _, text in batch])
        seconds += time.monotonic() - start
    found = np.concatenate(vectors)
    if not np.isfinite(found).all():
        raise RuntimeError(f"{checkpoint.name} gave NaN or infinity for an image or a text.")
    return Features(found, len(vectors), tokens, seconds, cut)


def _cut(model: Any, processor: Any, texts: Sequence[str]) -> int:
    """How many texts are longer than the model reads."""
    limit = model.config.text_config.max_position_embeddings
    read = [without_controls(text, processor.tokenizer) for text in texts]
    return sum(len(ids) > limit for ids in processor.tokenizer(read)["input_ids"])


def _inputs(model: Any, processor: Any, texts: Sequence[str], pictures: Sequence[Any]) -> Any:
    inputs = processor(
        text=[without_controls(text, processor.tokenizer) for text in texts],
        images=list(pictures),
        return_tensors="pt",
        padding=True,
        truncation=True,
        max_length=model.config.text_config.max_position_embeddings,
    )
    return inputs.to(model.device, model.dtype)


def _similarity(checkpoint: Checkpoint, images: list[str], texts: list[str]) -> Reading:
    import torch

    model, processor = _load(checkpoint)
    pictures = [from_data_uri(to_data_uri(image)) for image in images]
    start = time.monotonic()
    inputs = _inputs(model, processor, texts, pictures)
    with torch.inference_mode():
        output = model(**inputs)
    # The embeddings are normalised. `logits_per_image` would be this product times CLIP's scale of
    # 100.
    cosines = (output.image_embeds @ output.text_embeds.T).float().amax(dim=0)
    tokens = int(inputs["attention_mask"].sum())
    cut = _cut(model, processor, texts)
    return Reading(cosines.tolist(), 1, tokens, 0, time.monotonic() - start, cut)


@cache
def _load(checkpoint: Checkpoint) -> tuple[Any, Any]:
    import torch
    import transformers

    # In float32 on GPUs too, as ETA's authors do: with the eight bits of bfloat16, values near a
    # threshold would change sides.
    return load_with_processor(
        checkpoint,
        kind="clip",
        purpose="a CLIP model",
        model=transformers.CLIPModel,
        processor=transformers.CLIPProcessor,
        dtype=torch.float32,
    )
