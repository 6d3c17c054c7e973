"""Corrects several tests together: Westfall and Young's step-down maxT over flips of whole images.

The same signs flip all differences of a family, image by image, which keeps their dependence: ten
measures that always agree cost little more than one (Westfall and Young, Resampling-Based Multiple
Testing, 1993, algorithm 4.1). tests/bench/false_marks.py simulates the share of families with a
false mark; results/README.md shows it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from vlmguard.results.stats.intervals import Numbers

FLIPS: Final = 10_000
_EXACT_CLUSTERS: Final = 12
_SEED: Final = 20260817
_BLOCK: Final = 1_000
_FEW_IMAGES: Final = 2_000
"""For up to so many images the signs are kept, which takes at most 40 MB."""


@dataclass(frozen=True)
class Sums:
    """The sums whose signs a test flips.

    Attributes:
        pool: Names of images are unique within a pool: there, equal names are flipped together.
        names: The images.
        sums: Sum of the differences of each image.
    """

    pool: str
    names: npt.NDArray[np.str_]
    sums: Numbers

    @property
    def varies(self) -> bool:
        """Whether any difference is not 0; else there is nothing to test."""
        return bool(np.any(self.sums != 0))


def westfall_young(family: Sequence[Sums]) -> list[float]:
    """Adjusted p-values of two-sided tests that sums of differences are zero.

    Args:
        family: The tests that are corrected together.

    Returns:
        A p-value for each, in the same order; 1 if nothing differs. Exact if at most 12 images
        differ in all, else from 10,000 flips.
    """
    if not family:
        return []
    blocks, spread = _matrices(family)
    moved = sum(len(matrix) for _, matrix in blocks)
    observed = np.abs([each.sums.sum() for each in family]) / spread
    # Slightly below, so that sums that differ only by rounding count as equal.
    observed = observed * (1 - 1e-5) - 1e-6
    order = np.argsort(-observed, kind="stable")
    reached = np.zeros(len(family))
    exact = moved <= _EXACT_CLUSTERS
    flips = 2**moved if exact else FLIPS
    for start in range(0, flips, _BLOCK):
        drawn = _signs(moved, start, min(_BLOCK, flips - start), exact)
        place, totals = 0, np.zeros((len(drawn), len(family)), dtype=np.float32)
        for columns, matrix in blocks:
            # Images of different pools never share a name, so each pool has its own rows of signs.
            # Blocks bound the memory, and float32 halves it: rounding is far below the tolerance
            # above.
            totals[:, columns] += drawn[:, place : place + len(matrix)] @ matrix
            place += len(matrix)
        scores = (np.abs(totals) / spread)[:, order]
        # Step down: each test competes with the maximum of itself and all less significant ones.
        highest = np.maximum.accumulate(scores[:, ::-1], axis=1)[:, ::-1]
        reached += (highest >= observed[order]).sum(axis=0)
    shares = reached / flips if exact else (reached + 1) / (flips + 1)
    adjusted = np.empty(len(family))
    # A less significant test may not get a smaller p than a more significant one.
    adjusted[order] = np.maximum.accumulate(shares)
    return [float(min(p, 1.0)) for p in adjusted]


def _matrices(
    family: Sequence[Sums],
) -> tuple[list[tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]], Numbers]:
    """The tests of each pool with their sums by image, and each test's spread."""
    blocks = []
    spread = np.ones(len(family))
    for pool in dict.fromkeys(each.pool for each in family):
        columns = np.array([n for n, each in enumerate(family) if each.pool == pool])
        names = np.unique(np.concatenate([family[column].names for column in columns]))
        matrix = np.zeros((len(names), len(columns)))
        for place, column in enumerate(columns):
            each = family[column]
            matrix[np.searchsorted(names, each.names), place] = each.sums
            spread[column] = np.sqrt(each.sums @ each.sums) or 1.0
        differ = matrix.any(axis=1)
        blocks.append((columns, matrix[differ].astype(np.float32)))
    return blocks, spread


def _signs(images: int, start: int, count: int, exact: bool) -> npt.NDArray[np.float32]:
    """The sign of each image in each flip: all patterns if exact, else random ones."""
    if exact:
        bits = (np.arange(start, start + count)[:, None] >> np.arange(images)) & 1
    else:
        drawn = _kept_bits if images <= _FEW_IMAGES else _bits
        bits = drawn(images, start, count)
    return bits.astype(np.float32) * 2 - 1


def _bits(images: int, start: int, count: int) -> npt.NDArray[np.int8]:
    random = np.random.default_rng((_SEED, images, start))
    drawn: npt.NDArray[np.int8] = random.integers(0, 2, size=(count, images), dtype=np.int8)
    drawn.setflags(write=False)
    return drawn


# The families of several targets often have as many images.
_kept_bits = lru_cache(maxsize=2 * FLIPS // _BLOCK)(_bits)
