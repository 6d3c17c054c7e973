"""The world's samples: the same on every machine, by fixed seeds.

A split holds each joint pair once, and pairs of the other slices in several drawings. `benign`
holds harmless pairs of all kinds in separate drawings: the near neighbours of the hazardous ones.
"""

import zlib
from collections.abc import Iterator
from typing import Final

from inspect_ai.dataset import Sample

from vlmguard.guard.messages import user_message
from vlmguard.training.microworld.world.drawing import data_uri
from vlmguard.training.microworld.world.hazards import (
    PICTURES,
    REQUESTS,
    WORDINGS,
    Pair,
    Slice,
    Split,
    pairs,
)

_DRAWINGS: Final = {"visual": 6, "typographic": 9}
"""Drawings of each hazardous pair: 96 and 72 samples in a test split."""

_BENIGN: Final = {"joint": 1, "visual": 2, "typographic": 4}
"""Drawings of each harmless pair in `benign` (of `joint`, every second pair): 36 + 32 + 32."""

_SEED: Final = {"train": 10**7, "validation": 2 * 10**7, "test": 3 * 10**7}


def make_samples(slice: Slice, split: Split = "test") -> list[Sample]:
    """Draw the samples of a slice and split, with all metadata that tasks must give."""
    return [
        _sample(slice, split, pair, number)
        for pair, count in _chosen(slice, split)
        for number in range(count)
    ]


def pair_of(metadata: dict[str, object]) -> Pair:
    """The pair of a sample, from its metadata."""
    return Pair(PICTURES[str(metadata["picture"])], REQUESTS[str(metadata["request"])])


def _chosen(slice: Slice, split: Split) -> Iterator[tuple[Pair, int]]:
    found = pairs(split)
    if slice == "joint":
        yield from ((pair, 1) for pair in found if pair.slice == "joint")
    elif slice == "benign":
        harmless = [pair for pair in found if not pair.hazardous]
        scenes = [pair for pair in harmless if pair.slice == "joint"]
        yield from ((pair, _BENIGN["joint"]) for pair in scenes[::2])
        yield from ((pair, _BENIGN[pair.slice]) for pair in harmless if pair.slice != "joint")
    else:
        yield from (
            (pair, _DRAWINGS[slice]) for pair in found if pair.hazardous and pair.slice == slice
        )


def _sample(slice: Slice, split: Split, pair: Pair, number: int) -> Sample:
    name = f"{pair.picture.name}-{pair.request.text.replace(' ', '_')}-{number}"
    chosen = zlib.crc32(f"{slice}/{split}/{name}".encode())
    seed = _SEED[split] + chosen % 10**6
    text = WORDINGS[chosen % len(WORDINGS)].format(pair.request.text)
    return Sample(
        id=f"microworld/{slice}/{name}",
        input=[user_message([data_uri(pair.picture, seed)], text)],
        target="hazardous" if pair.hazardous else "harmless",
        metadata={
            "category": pair.kind,
            "subset": slice,
            "expected": "care" if pair.hazardous else "comply",
            # Drawings of one picture are not independent, so intervals cluster by the picture.
            "image_id": pair.picture.name,
            "picture": pair.picture.name,
            "request": pair.request.text,
        },
    )
