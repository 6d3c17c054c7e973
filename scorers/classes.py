"""Values of a judge's label with several classes, which `verdicts.one_of` reads as a number.

CLASSES: Final = ("declines", "warns", "complies")        # the first of them counts in a tie
Question(TEMPLATE, {"class": one_of(*CLASSES)}, refused={"class": 0.0})
shares(result.value["class"], CLASSES)                    # {"declines": 0.0, "warns": 1.0, ...}
"""

import math
from collections import Counter
from collections.abc import Collection, Sequence

__all__ = ["is_among", "most_frequent", "shares"]


def is_among(found: float, classes: Sequence[str], wanted: Collection[str]) -> float:
    """Whether a class is one of some: 1, 0, or NaN if there is no class.

    Args:
        found: Number of the class, or NaN.
        classes: All classes, in the order of `one_of`.
        wanted: Some of them.
    """
    return math.nan if math.isnan(found) else float(classes[int(found)] in wanted)


def shares(found: float, classes: Sequence[str]) -> dict[str, float]:
    """A value for each class, 1 for the one that was found and 0 for the others, or all NaN.

    Args:
        found: Number of the class, or NaN.
        classes: All classes, in the order of `one_of`.
    """
    return {name: is_among(found, classes, (name,)) for name in classes}


def most_frequent(values: list[float]) -> float:
    """The most frequent class number; the lowest of equally frequent ones.

    NaN does not vote, and no vote is NaN.
    """
    counts = Counter(value for value in values if not math.isnan(value))
    return min(counts, key=lambda value: (-counts[value], value)) if counts else math.nan
