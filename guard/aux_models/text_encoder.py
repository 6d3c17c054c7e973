"""Text encoder: vectors of texts, by any checkpoint of transformers with a tokenizer.

A text's vector is the mean of its tokens' last hidden states, as sentence encoders have it.
"""

import time
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vlmguard.guard.aux_models.base import Checkpoint, in_worker, load_complete, loading, place
from vlmguard.guard.errors import UserError
from vlmguard.guard.record import Stage
from vlmguard.guard.text.control_tokens import without_controls

__all__ = ["Encoded", "encode_texts", "prepare_text_encoder"]

MAX_LENGTH: Final = 512


@dataclass(frozen=True)
class Encoded:
    """Vectors of texts.

    Attributes:
        vectors: A row for each text.
        tokens: Tokens read.
        seconds: Time in the model, without loading and queueing.
        cut: Number of texts of which only the beginning was read.
    """

    vectors: NDArray[np.float64]
    tokens: int
    seconds: float
    cut: int = 0

    def stage(self, name: str) -> Stage:
        """The entry for a `DefenseRecord`."""
        return Stage(
            name=name,
            role="embedder",
            output="",
            input_tokens=self.tokens,
            output_tokens=0,
            seconds=self.seconds,
            cost=0.0,
        )


async def prepare_text_encoder(checkpoint: Checkpoint) -> None:
    """Load the model, so that its faults show before any call is paid for.

    Raises:
        UserError: As for `encode_texts`.
    """
    await in_worker(_load, checkpoint)


async def encode_texts(checkpoint: Checkpoint, texts: list[str]) -> Encoded:
    """Vectors of texts.

    Args:
        checkpoint: The encoder; loaded on first use.
        texts: One text or more; 512 tokens of each are read, and `cut` counts longer ones.

    Raises:
        UserError: The checkpoint cannot be loaded, or is no model of texts.
    """
    return await in_worker(_encode, checkpoint, texts)


def _encode(checkpoint: Checkpoint, texts: list[str]) -> Encoded:
    import torch

    model, tokenizer = _load(checkpoint)
    start = time.monotonic()
    rows = []
    tokens = cut = 0
    limit = min(MAX_LENGTH, tokenizer.model_max_length)
    # One by one: a decoder's tokenizer may have no padding.
    for text in texts:
        read = without_controls(text, tokenizer)
        inputs = tokenizer(read, return_tensors="pt", truncation=True, max_length=limit).to(
            model.device
        )
        cut += len(tokenizer(read)["input_ids"]) > limit
        with torch.inference_mode():
            states = model(**inputs).last_hidden_state[0]
        rows.append(states.float().mean(dim=0).cpu().numpy().astype(np.float64))
        tokens += inputs["input_ids"].numel()
    return Encoded(np.stack(rows), tokens, time.monotonic() - start, cut)


@cache
def _load(checkpoint: Checkpoint) -> tuple[Any, Any]:
    import torch
    import transformers

    source = checkpoint.source
    options = checkpoint.options
    device, _ = place(checkpoint.device)
    with loading(checkpoint.name):
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, **options)
    # In float32 on GPUs too: cosines near 1 are compared.
    model = load_complete(
        transformers.AutoModel, source, "a text encoder", dtype=torch.float32, **options
    )
    model = model.to(device)
    try:
        with torch.inference_mode():
            output = model(**tokenizer("a", return_tensors="pt").to(device))
    except (AttributeError, TypeError, ValueError) as error:  # it wants a picture, or a second text
        raise _no_encoder(checkpoint) from error
    if "last_hidden_state" not in output:
        raise _no_encoder(checkpoint)
    return model, tokenizer


def _no_encoder(checkpoint: Checkpoint) -> UserError:
    return UserError(
        f"Checkpoint {checkpoint.name} is no text encoder: it gives no hidden states for a text "
        "alone. Name a sentence encoder, or another model of texts."
    )
