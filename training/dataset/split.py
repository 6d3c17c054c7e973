"""Splits rows into train and validation, by image."""

import random
from collections import Counter

from vlmguard.training.dataset.collect import KeptRow
from vlmguard.training.dataset.fingerprints import ImageIndex


def split_by_image(rows: list[KeptRow], validation: float, seed: int) -> dict[str, list[KeptRow]]:
    """Split rows so that no image, and no near-duplicate of it, is on both sides.

    Args:
        rows: The rows.
        validation: Share of rows to hold out.
        seed: Seed of the drawing.

    Returns:
        `train` and `validation`. Each has at least one image if there are two and `validation` is
        not 0. An empty side is not written.
    """
    groups = image_groups(rows)
    members: dict[int, int] = Counter(groups)
    order = sorted(members)
    random.Random(seed).shuffle(order)
    held: set[int] = set()
    wanted = validation * len(rows)
    # The last group is always in train.
    for group in order[:-1]:
        if sum(members[each] for each in held) >= wanted:
            break
        held.add(group)
    return {
        "train": [row for row, group in zip(rows, groups, strict=True) if group not in held],
        "validation": [row for row, group in zip(rows, groups, strict=True) if group in held],
    }


def image_groups(rows: list[KeptRow]) -> list[int]:
    """Number the images so that images that look the same share a number.

    Returns:
        A number for each row: the index of the first row of its group.
    """
    prints = [row.item.print for row in rows if row.item.print is not None]
    index = ImageIndex(prints)
    group = list(range(len(rows)))

    def first(row: int) -> int:
        while group[row] != row:
            row = group[row]
        return row

    by_id: dict[str, int] = {}
    for number, (row, look) in enumerate(zip(rows, prints, strict=True)):
        # The same name within a source means the same image, even if a copy was re-encoded.
        twins = [by_id.setdefault(row.item.image_id, number)]
        twins += index.near(look)
        for twin in twins:
            low, high = sorted((first(number), first(twin)))
            group[high] = low
    return [first(row) for row in range(len(rows))]
