"""ShieldGemma 2: how probably an image violates each of three policies.

Facts: the classes of the installed transformers. The processor writes a prompt for each policy from
the checkpoint's own definitions. The output holds the logits of two tokens, that of Yes (the image
violates the policy) first; the documentation's example reads the other one.
"""

import time
from collections.abc import Sequence
from functools import cache
from typing import Any

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.aux_models.base import Checkpoint, Reading, in_worker, load_with_processor
from vlmguard.guard.errors import UserError
from vlmguard.guard.images.prepare import from_data_uri, to_data_uri

__all__ = ["prepare_shieldgemma", "probabilities_unsafe"]


async def prepare_shieldgemma(checkpoint: Checkpoint) -> None:
    """Load the model, so that its faults show before any call is paid for.

    Raises:
        UserError: It cannot be loaded, or is no ShieldGemma 2.
    """
    await in_worker(_load, checkpoint)


async def probabilities_unsafe(
    checkpoint: Checkpoint, image: str, policies: Sequence[str]
) -> Reading:
    """Ask about one image.

    Args:
        checkpoint: A ShieldGemma 2; loaded on first use.
        image: A data URI or a path.
        policies: Names of policies, one or more.

    Returns:
        For each policy the probability (0 to 1) that the image violates it.

    Raises:
        UserError: As for `prepare_shieldgemma`, or the checkpoint has no such policy.
        ImageError: The image cannot be decoded.
    """
    return await in_worker(_probabilities, checkpoint, image, policies)


def _probabilities(checkpoint: Checkpoint, image: str, policies: Sequence[str]) -> Reading:
    import torch

    model, processor = _load(checkpoint)
    unknown = [name for name in policies if name not in processor.policy_definitions]
    if unknown:
        known = processor.policy_definitions
        raise UserError(
            f"Checkpoint {checkpoint.name} has no policy {unknown[0]}."
            f"{did_you_mean(unknown[0], known)} Choose among: {', '.join(known)}."
        )
    picture = from_data_uri(to_data_uri(image))
    start = time.monotonic()
    inputs = processor(
        images=[picture],
        policies=[*policies],
        images_kwargs={"do_pan_and_scan": False},
        return_tensors="pt",
    ).to(model.device, model.dtype)
    with torch.inference_mode():
        logits = model(**inputs).logits
    # In float32, as the eight bits of bfloat16 would round near a threshold.
    values = logits.float().softmax(-1)[:, 0].tolist()
    tokens = int(inputs["attention_mask"].sum())
    return Reading(values, len(policies), tokens, 0, time.monotonic() - start)


@cache
def _load(checkpoint: Checkpoint) -> tuple[Any, Any]:
    import transformers

    return load_with_processor(
        checkpoint,
        kind="shieldgemma2",
        purpose="a ShieldGemma 2",
        model=transformers.ShieldGemma2ForImageClassification,
        processor=transformers.ShieldGemma2Processor,
    )
