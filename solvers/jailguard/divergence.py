"""How far answers to variants of one request differ."""

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["LARGEST", "hashed_vectors", "largest_divergence"]

SMALLEST_SIMILARITY: Final = 0.01
LARGEST: Final = 100.0
"""The authors' bounds: of a similarity from below, of a divergence from above."""

Matrix = NDArray[np.float64]

_SIZE: Final = 2**16
_LENGTHS: Final = (3, 4, 5)


def largest_divergence(vectors: Matrix) -> float:
    """The largest divergence between the answers' similarities to all.

    The cosines of each answer with all answers, made a distribution, are compared pair by pair
    (Kullback and Leibler).

    Args:
        vectors: A row for each answer, two or more.

    Returns:
        From 0, for answers with the same vector, to 100.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.maximum(lengths, np.finfo(np.float64).tiny)
    # Without the last digits, which depend on the order of a sum, equal answers are equal.
    similarity = np.clip(np.round(unit @ unit.T, 9), SMALLEST_SIMILARITY, None)
    rows = similarity / similarity.sum(axis=1, keepdims=True)
    logs = np.log(rows)
    pairs = (rows[:, None, :] * (logs[:, None, :] - logs[None, :, :])).sum(axis=2)
    return float(np.clip(pairs, 0.0, LARGEST).max())


def hashed_vectors(texts: Sequence[str]) -> Matrix:
    """Vectors of texts, in any language, without a model: logarithms of the counts of n-grams.

    Args:
        texts: The texts.

    Returns:
        A row for each. N-grams are runs of 3 to 5 letters within a word, with its ends; those of
        the same hash (CRC-32, of 16 bits) share a column.
    """
    vectors = np.zeros((len(texts), _SIZE))
    for row, text in enumerate(texts):
        for gram, count in Counter(_grams(text)).items():
            vectors[row, zlib.crc32(gram.encode("utf-8", "replace")) % _SIZE] += np.log1p(count)
    return vectors


def _grams(text: str) -> Iterator[str]:
    for word in re.findall(r"\w+|[^\w\s]+", text.casefold()):
        ended = f" {word} "
        for length in _LENGTHS:
            for start in range(len(ended) - length + 1):
                yield ended[start : start + length]
