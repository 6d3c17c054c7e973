"""Finds images that count as the same, by a perceptual hash."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

NEAR_BITS: Final = 12
"""How many of a fingerprint's 256 bits may differ. Measured on 50 typographic
test images that look much alike: re-encoding, scaling and cropping by a few pixels change at most
10 bits, and two different images differ in at least 16.
"""

NEAR_COLOUR: Final = 16.0
"""The largest mean difference of the coarse colours (of 255) for two images to be the same."""

_SIDE: Final = 16
_MARGIN: Final = 2


@dataclass(frozen=True)
class Fingerprint:
    """Features of an image that survive scaling and re-encoding.

    Attributes:
        bits: 256 bits: is each of 16x16 places brighter than its left neighbour?
        colours: Coarse colours, 4x4 RGB: 48 values from 0 to 255. They tell
            apart flat pictures, whose bits are all zero.
    """

    bits: bytes
    colours: bytes


def fingerprint(picture: Image.Image) -> Fingerprint:
    """A perceptual hash: brightness steps (dHash) and coarse colours."""
    rgb = picture.convert("RGB")
    grey = rgb.convert("L").resize((_SIDE + 1, _SIDE), Image.Resampling.LANCZOS)
    levels = np.frombuffer(grey.tobytes(), dtype=np.uint8).reshape(_SIDE, _SIDE + 1).astype(int)
    # The margin ignores compression noise in flat areas.
    steps = levels[:, 1:] > levels[:, :-1] + _MARGIN
    colours = rgb.resize((4, 4), Image.Resampling.BOX).tobytes()
    return Fingerprint(np.packbits(steps).tobytes(), colours)


class ImageIndex:
    """Finds near-duplicates of an image among many."""

    def __init__(self, fingerprints: Sequence[Fingerprint]) -> None:
        bits = _table([each.bits for each in fingerprints], _SIDE * _SIDE // 8)
        # In words of 64 bits, word by word: hundreds of millions of pairs are compared.
        self._bits = np.ascontiguousarray(bits.view(np.uint64).T)
        self._colours = _table([each.colours for each in fingerprints], 48).astype(np.int16)

    def near(self, image: Fingerprint) -> list[int]:
        """Indices of the images that look the same as this one, rising."""
        words = np.frombuffer(image.bits, np.uint64)[:, None]
        differing = np.bitwise_count(self._bits ^ words).sum(axis=0, dtype=np.uint16)
        alike = np.flatnonzero(differing <= NEAR_BITS)
        colours = np.frombuffer(image.colours, np.uint8).astype(np.int16)
        distance = np.abs(self._colours[alike] - colours).mean(axis=1)
        return [int(index) for index in alike[distance <= NEAR_COLOUR]]


def _table(rows: list[bytes], width: int) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), width)
