"""Splits rows into train and validation, by image."""

import random
from typing import Final

import numpy as np

from vlmguard.guard.progress import tracked
from vlmguard.training.dataset.fingerprints import Fingerprint, ImageIndex, Indices
from vlmguard.training.dataset.kept_rows import KeptRows

_LOOK: Final = np.dtype("S80")
"""A fingerprint in one piece."""


def split_by_image(rows: KeptRows, validation: float, seed: int) -> dict[str, int]:
    """Split rows so that no image, and no near-duplicate of it, is on both sides.

    Args:
        rows: The rows; those that are held out are marked.
        validation: Share of rows to hold out.
        seed: Seed of the drawing.

    Returns:
        Number of rows in `train` and `validation`. Each has at least one image if there are two and
        `validation` is not 0. An empty side is not written.
    """
    groups = image_groups(rows)
    numbers, sizes = np.unique(groups, return_counts=True)
    # Indices are drawn as the groups themselves would be: only their number counts.
    order = list(range(len(numbers)))
    random.Random(seed).shuffle(order)
    held = np.zeros(len(numbers), dtype=bool)
    wanted, taken = validation * len(groups), 0
    # The last group is always in train.
    for group in order[:-1]:
        if taken >= wanted:
            break
        held[group] = True
        taken += int(sizes[group])
    rows.hold_out(bool(out) for out in held[np.searchsorted(numbers, groups)])
    return {"train": len(groups) - taken, "validation": taken}


def image_groups(rows: KeptRows) -> Indices:
    """Number the images so that images that look the same share a number.

    An image is looked up once among those that look different, see `ImageIndex`. A row takes about
    100 bytes of memory, an image 400.

    Returns:
        A number for each row: the index of the first row of its group.
    """
    shown = np.fromiter(rows.shown(), dtype=np.dtype((np.int64, 2)))
    joined = _Joined(len(shown))
    # The same name within a source means the same image, even if a copy was re-encoded.
    for column in (0, 1):
        _, first, same = np.unique(shown[:, column], return_index=True, return_inverse=True)
        joined.join_all(np.arange(len(shown)), first[same])
    # By number, as `rows.images` goes through them.
    _, first_rows = np.unique(shown[:, 0], return_index=True)
    looks = np.fromiter((each.bits + each.colours for each in rows.images()), dtype=_LOOK)
    distinct, first, same = np.unique(looks, return_index=True, return_inverse=True)
    joined.join_all(first_rows, first_rows[first[same]])
    places = first_rows[first]
    index = ImageIndex(map(_fingerprint, distinct))
    for place, look in enumerate(tracked(distinct, "comparing images", len(distinct))):
        near = index.near_indices(_fingerprint(look))
        # The others are joined when their turn comes.
        for root in np.unique(joined.roots(places[near[near < place]])):
            joined.join(int(places[place]), int(root))
    return joined.roots(np.arange(len(shown)))


def _fingerprint(look: bytes) -> Fingerprint:
    # NumPy leaves out zeros at the end.
    whole = bytes(look).ljust(_LOOK.itemsize, b"\0")
    return Fingerprint(whole[:32], whole[32:])


class _Joined:
    """Rows in groups; a group has the number of its first row."""

    def __init__(self, size: int) -> None:
        self._up = np.arange(size)

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self._root(one), self._root(other)))
        self._up[high] = low

    def join_all(self, rows: Indices, others: Indices) -> None:
        """Join each row with another."""
        apart = rows != others
        for row, other in zip(rows[apart], others[apart], strict=True):
            self.join(int(row), int(other))

    def roots(self, rows: Indices) -> Indices:
        """The group of each row."""
        found = self._up[rows]
        while not np.array_equal(found, above := self._up[found]):
            found = above
        return found

    def _root(self, row: int) -> int:
        up = self._up
        while up[row] != row:
            up[row] = up[up[row]]
            row = int(up[row])
        return row
