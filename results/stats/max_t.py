"""Several tests together: Westfall and Young's step-down maxT over flips of whole images.

All differences of a family are flipped by the same signs, image by image, so that their
dependence counts: ten measures that say the same cost hardly more than one (Westfall and
Young, Resampling-Based Multiple Testing, 1993, algorithm 4.1). The share of families with
any false mark is simulated in tests/bench/false_marks.py and shown in results/README.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vlmguard.results.stats.intervals import Numbers

FLIPS: Final = 10_000
_EXACT_CLUSTERS: Final = 12
_SEED: Final = 20260817
_BLOCK: Final = 1_000


@dataclass(frozen=True)
class Sums:
    """What a test flips.

    Attributes:
        pool: Where names of images are unique: equal names are flipped together there.
        names: The images.
        sums: Sum of the differences in each.
    """

    pool: str
    names: npt.NDArray[np.str_]
    sums: Numbers

    @property
    def varies(self) -> bool:
        """Whether anything differs: else there is nothing to test."""
        return bool(np.any(self.sums != 0))


def westfall_young(family: Sequence[Sums]) -> list[float]:
    """Adjusted p-values of two-sided tests that sums of differences are zero.

    Args:
        family: What is tested together.

    Returns:
        A p-value for each, in the same order; 1 where nothing differs. Exact where no more
        than 12 images differ in all, else from 10,000 flips.
    """
    if not family:
        return []
    blocks, spread = _matrices(family)
    moved = sum(len(matrix) for _, matrix in blocks)
    observed = np.abs([each.sums.sum() for each in family]) / spread
    # A hair below, so that sums equal but for rounding count as equal.
    observed = observed * (1 - 1e-5) - 1e-6
    order = np.argsort(-observed, kind="stable")
    reached = np.zeros(len(family))
    exact = moved <= _EXACT_CLUSTERS
    flips = 2**moved if exact else FLIPS
    for start in range(0, flips, _BLOCK):
        drawn = _signs(moved, start, min(_BLOCK, flips - start), exact)
        place, totals = 0, np.zeros((len(drawn), len(family)), dtype=np.float32)
        for columns, matrix in blocks:
            totals[:, columns] += drawn[:, place : place + len(matrix)] @ matrix
            place += len(matrix)
        scores = (np.abs(totals) / spread)[:, order]
        # Of each test and all that are less clear than it.
        highest = np.maximum.accumulate(scores[:, ::-1], axis=1)[:, ::-1]
        reached += (highest >= observed[order]).sum(axis=0)
    shares = reached / flips if exact else (reached + 1) / (flips + 1)
    adjusted = np.empty(len(family))
    adjusted[order] = np.maximum.accumulate(shares)
    return [float(min(p, 1.0)) for p in adjusted]


def _matrices(
    family: Sequence[Sums],
) -> tuple[list[tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]], Numbers]:
    """For each pool its tests and their sums by image, and the spread of each test."""
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
    """Signs of each image, in each flip."""
    if exact:
        bits = (np.arange(start, start + count)[:, None] >> np.arange(images)) & 1
    else:
        random = np.random.default_rng((_SEED, images, start))
        bits = random.integers(0, 2, size=(count, images), dtype=np.int8)
    return bits.astype(np.float32) * 2 - 1
