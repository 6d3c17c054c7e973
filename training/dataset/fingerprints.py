"""Finds images that count as the same, by a perceptual hash."""

from collections.abc import Iterable
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
_BITS: Final = _SIDE * _SIDE // 8
_COLOURS: Final = 48
_VALUES: Final = 1 << _SIDE
_FEW: Final = 2_000
"""So many images are compared one by one; looking them up would take longer."""

Indices = np.ndarray[tuple[int], np.dtype[np.int64]]
_NONE: Final[Indices] = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
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
    """Finds near-duplicates of an image among many, by multi-index hashing.

    Mohammad Norouzi, Ali Punjani, David J. Fleet. Fast Search in Hamming Space with Multi-Index
    Hashing. CVPR 2012. https://arxiv.org/abs/1307.2982

    The 256 bits are 16 chunks of 16. Fingerprints that differ in 12 bits at most have at least four
    chunks in common, so that one of any 13 chunks leads to each of them: the 13 with the fewest
    images. Time for an image is near constant for photos. It grows with the number of different
    images of which most chunks are equal, such as black text on white; then all are compared, a
    billion in a minute. Memory is 144 bytes an image, and 4 MB.
    """

    def __init__(self, fingerprints: Iterable[Fingerprint]) -> None:
        whole = bytearray()
        for each in fingerprints:
            whole += each.bits + each.colours
        table = np.frombuffer(whole, dtype=np.uint8).reshape(-1, _BITS + _COLOURS)
        bits = np.ascontiguousarray(table[:, :_BITS])
        # In words of 64 bits, word by word: hundreds of millions of pairs are compared.
        self._bits = np.ascontiguousarray(bits.view(np.uint64).T)
        self._colours = np.ascontiguousarray(table[:, _BITS:])
        self._chunks = _Chunks(bits.view(np.uint16)) if len(bits) > _FEW else None

    def near(self, image: Fingerprint) -> list[int]:
        """Indices of the images that look the same as this one, rising."""
        return [int(index) for index in self.near_indices(image)]

    def near_indices(self, image: Fingerprint) -> Indices:
        """The same, as an array."""
        words = np.frombuffer(image.bits, np.uint64)[:, None]
        some = None
        if self._chunks is not None:
            some = self._chunks.candidates(np.frombuffer(image.bits, np.uint16))
        compared = self._bits if some is None else self._bits[:, some]
        differing = np.bitwise_count(compared ^ words).sum(axis=0, dtype=np.uint16)
        alike = np.flatnonzero(differing <= NEAR_BITS)
        if some is not None:
            alike = some[alike]
        if not len(alike):
            return alike
        colours = np.frombuffer(image.colours, np.uint8).astype(np.int16)
        distance = np.abs(self._colours[alike].astype(np.int16) - colours).mean(axis=1)
        near: Indices = alike[distance <= NEAR_COLOUR]
        return near


class _Chunks:
    """The images by each chunk of their bits."""

    def __init__(self, chunks: "np.ndarray[tuple[int, int], np.dtype[np.uint16]]") -> None:
        self._order = np.empty((_SIDE, len(chunks)), dtype=np.uint32)
        self._starts = np.empty((_SIDE, _VALUES + 1), dtype=np.uint32)
        for number in range(_SIDE):
            column = chunks[:, number]
            self._order[number] = np.argsort(column, kind="stable")
            counts = np.bincount(column, minlength=_VALUES)
            self._starts[number] = np.concatenate(([0], np.cumsum(counts)))

    def candidates(self, chunks: "np.ndarray[tuple[int], np.dtype[np.uint16]]") -> Indices | None:
        """The images that may be near, rising; None if these are so many that all are compared."""
        numbers = np.arange(_SIDE)
        starts = self._starts[numbers, chunks]
        sizes = self._starts[numbers, chunks.astype(np.uint32) + 1] - starts
        chosen = np.argsort(sizes)[: NEAR_BITS + 1]
        if sizes[chosen].sum() > self._order.shape[1] // _SIDE:
            return None
        found = [
            self._order[number, starts[number] : starts[number] + sizes[number]]
            for number in chosen
            if sizes[number]
        ]
        return np.unique(np.concatenate(found)).astype(np.int64) if found else _NONE
