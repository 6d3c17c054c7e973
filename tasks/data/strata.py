"""Draws from groups in proportion to their sizes."""

import math
from collections import defaultdict
from collections.abc import Callable
from typing import TypeVar

from vlmguard.guard.cards import Card
from vlmguard.tasks.data.dataset import check_drawing, draw

__all__ = ["draw_in_proportion"]

T = TypeVar("T")


def draw_in_proportion(
    items: list[T],
    group: Callable[[T], str],
    n: int,
    seed: int,
    name: str,
    card: Card | None = None,
    whole: int | None = None,
) -> list[T]:
    """Draw `n` items with a seed, from each group as many as its share; they keep their order.

    What whole numbers leave over goes to the groups with the largest remainders, of equal ones to
    the first by name.

    Args:
        items: The items to draw from.
        group: Gives an item's group.
        n: Number of items to draw.
        seed: Seed of the drawing.
        name: Name of the items, for the message.
        card: The benchmark whose items they are, for the message.
        whole: How many of them the benchmark has.

    Raises:
        UserError: There are fewer than `n` items, or `n` is not positive.
    """
    check_drawing(len(items), n, name, card, whole)
    members: dict[str, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        members[group(item)].append(place)
    wanted = {key: n * len(places) / len(items) for key, places in members.items()}
    counts = {key: math.floor(share) for key, share in wanted.items()}
    by_remainder = sorted(members, key=lambda key: (counts[key] - wanted[key], key))
    for key in by_remainder[: n - sum(counts.values())]:
        counts[key] += 1
    chosen = {
        place
        for key, places in members.items()
        if counts[key]
        for place in draw(places, counts[key], seed, name)
    }
    return [item for place, item in enumerate(items) if place in chosen]
