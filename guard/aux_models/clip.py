"""CLIP: how close an image is to a text (ETA's check of the image and its measure of utility)."""

import time
from functools import cache
from typing import Any

from vlmguard.guard.aux_models.base import (
    Checkpoint,
    Reading,
    in_worker,
    load_complete,
    loading,
    place,
)
from vlmguard.guard.errors import UserError
from vlmguard.guard.images.prepare import from_data_uri, to_data_uri
from vlmguard.guard.text.control_tokens import without_controls

__all__ = ["clip_similarity"]


async def clip_similarity(checkpoint: Checkpoint, images: list[str], texts: list[str]) -> Reading:
    """Cosine of images and texts in CLIP's space.

    Args:
        checkpoint: A CLIP model; loaded on first use.
        images: One image or more, as data URIs or paths.
        texts: One text or more; only the first 77 tokens, CLIP's length, are read.

    Returns:
        For each text the cosine (-1 to 1) to its closest image.

    Raises:
        UserError: The checkpoint cannot be loaded or is not a CLIP model.
        ImageError: An image cannot be decoded.
    """
    return await in_worker(_similarity, checkpoint, images, texts)


def _similarity(checkpoint: Checkpoint, images: list[str], texts: list[str]) -> Reading:
    import torch

    model, processor = _load(checkpoint)
    pictures = [from_data_uri(to_data_uri(image)) for image in images]
    start = time.monotonic()
    inputs = processor(
        text=[without_controls(text, processor.tokenizer) for text in texts],
        images=pictures,
        return_tensors="pt",
        padding=True,
        truncation=True,
        max_length=model.config.text_config.max_position_embeddings,
    )
    inputs = inputs.to(model.device, model.dtype)
    with torch.inference_mode():
        output = model(**inputs)
    # The embeddings are normalised. `logits_per_image` would be this product times CLIP's scale of
    # 100.
    cosines = (output.image_embeds @ output.text_embeds.T).float().amax(dim=0)
    tokens = int(inputs["attention_mask"].sum())
    return Reading(cosines.tolist(), 1, tokens, 0, time.monotonic() - start)


@cache
def _load(checkpoint: Checkpoint) -> tuple[Any, Any]:
    import torch
    import transformers

    source = checkpoint.source
    options: dict[str, Any] = {"revision": checkpoint.revision} if checkpoint.revision else {}
    device, _ = place(checkpoint.device)
    with loading(checkpoint.name):
        config = transformers.AutoConfig.from_pretrained(source, **options)
        if config.model_type != "clip":
            raise UserError(f"Checkpoint {checkpoint.name} is no CLIP model: {config.model_type}.")
        processor = transformers.CLIPProcessor.from_pretrained(source, **options)
    # In float32 on GPUs too, as ETA's authors do: with the eight bits of bfloat16, values near a
    # threshold would change sides.
    model = load_complete(
        transformers.CLIPModel, source, "a CLIP model", dtype=torch.float32, **options
    )
    return model.to(device), processor
