"""A request as the model gets it, with a digest of its images as they enter the vision tower."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image


@dataclass
class Prepared:
    """A request as the model gets it.

    Attributes:
        text: The rendered prompt.
        images: Its images, if the processor needs whole batches; else they are in `inputs`.
        inputs: Tensors of a batch of one; empty if the processor needs whole batches.
        ids: The prompt's token ids (images included).
        continues: Whether the model continues an answer.
        digest: Digest of the tensors that enter the vision tower, see `digest_of`; empty if the
            processor needs whole batches.
        shown: Number of its images.
    """

    text: str
    images: list[Image.Image] = field(repr=False)
    inputs: dict[str, torch.Tensor] = field(repr=False)
    ids: list[int] = field(repr=False)
    continues: bool
    digest: str = ""
    shown: int = 0


def digest_of(inputs: dict[str, torch.Tensor]) -> str:
    """Digest of the inputs of the vision tower: all tensors but those shaped like `input_ids`."""
    digest = hashlib.blake2b(digest_size=20)
    for name in sorted(inputs):
        value = inputs[name]
        if value.shape != inputs["input_ids"].shape:
            digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
            digest.update(bytes_of(value))
    return digest.hexdigest()


def bytes_of(value: torch.Tensor) -> Any:
    """The bytes of a tensor on the CPU, without a copy if it is contiguous."""
    return value.contiguous().flatten().view(torch.uint8).numpy()
