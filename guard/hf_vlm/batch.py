"""Makes the tensors that the model reads from the rows of a batch."""

import inspect
from dataclasses import dataclass
from typing import Any, Final

from vlmguard.guard.hf_vlm.image_features import PIXELS, ImageFeatures
from vlmguard.guard.hf_vlm.prepared import Prepared
from vlmguard.guard.hf_vlm.processor import PromptMaker

TYPES: Final = "mm_token_type_ids"


@dataclass(frozen=True)
class Sharing:
    """What rows of a batch, and later batches, share if the model allows it.

    Attributes:
        features: Features of images are kept, see `image_features`.
        prompts: Equal prompts are read once, see `choices`.
    """

    features: bool = False
    prompts: bool = False


def distinct(requests: list[Prepared]) -> tuple[list[Prepared], list[int]]:
    """The different prompts of a batch, and for each row the index of its prompt.

    Equal text and images are the same prompt, whether they come from one request or from several.
    """
    found: dict[tuple[str, object], int] = {}
    prompts: list[Prepared] = []
    which = []
    for request in requests:
        key = (request.text, request.digest or id(request))
        if key not in found:
            found[key] = len(prompts)
            prompts.append(request)
        which.append(found[key])
    return prompts, which


def model_inputs(
    model: Any,
    maker: PromptMaker,
    prompts: list[Prepared],
    features: ImageFeatures | None = None,
    adapter: str | None = None,
) -> dict[str, Any]:
    """The inputs of `generate` for some prompts, on the model's device.

    Args:
        model: The model, with the adapter switched on.
        maker: The processor that prepared them.
        prompts: All have images, or all have no image.
        features: The cache of features of images; None to pass pixels.
        adapter: The adapter's name; None for the base alone.
    """
    inputs: dict[str, Any] = dict(maker.collate(prompts))
    if TYPES not in inspect.signature(model.forward).parameters:
        inputs.pop(TYPES, None)  # the processor makes them although the model takes none
    more: dict[str, Any] = {}
    if features is not None and prompts[0].shown:
        more = {"mm_encoder_outputs": {"image": features.of(model, adapter, prompts)}}
        inputs = {name: value for name, value in inputs.items() if name not in PIXELS}
    moved = {
        name: value.to(model.device, model.dtype if value.is_floating_point() else None)
        for name, value in inputs.items()
    }
    return moved | more
