"""Random noise for pictures, the same for the same seed."""

import random
from collections.abc import Callable
from typing import Final, Literal

import numpy as np
from PIL import Image

__all__ = ["NOISES", "Noise", "noise"]

Noise = Literal["mask", "gaussian"]
"""`mask` blackens pixels, `gaussian` shifts each colour of each pixel."""

NOISES: Final = ("mask", "gaussian")


def noise(kind: Noise, strength: float, seed: str) -> Callable[[Image.Image], Image.Image]:
    """Make a change for `altering.altered` that adds noise.

    Args:
        kind: The kind of noise.
        strength: Of `mask` the probability with which a pixel becomes black (0 to 1); of `gaussian`
            the standard deviation (>= 0), where a colour goes from 0 to 1. What leaves that range
            is cut.
        seed: Starts the random numbers, which go on from one picture to the next.

    Returns:
        Gives a new picture of mode RGB for one of that mode.
    """
    numbers = np.random.default_rng(random.Random(seed).getrandbits(64))

    def noisy(picture: Image.Image) -> Image.Image:
        pixels = np.array(picture.convert("RGB"))
        # Row by row, since a whole picture's random numbers take a hundred bytes a pixel.
        for row in pixels:
            if kind == "mask":
                row[numbers.random(len(row)) < strength] = 0
            else:
                shifted = row + numbers.normal(0.0, 255.0 * strength, row.shape)
                row[:] = np.clip(np.rint(shifted), 0, 255)
        return Image.fromarray(pixels)

    return noisy
