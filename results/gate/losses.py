"""Where a run lost against its baseline, and how large a loss must be to be significant.

A guard may become worse at one kind of hazard alone. So each measure is compared over all samples,
within each slice, and within each category that is large enough.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vlmguard.results.gate.baseline import Reading
from vlmguard.results.stats.differences import mcnemar, permutation
from vlmguard.results.stats.intervals import Numbers

SMALLEST_CATEGORY: Final = 10
"""The fewest samples with a value in the baseline for a category to be compared separately."""
_FLIPS: Final = 20_000
_SEED: Final = 20250417

Clusters = npt.NDArray[Any]


@dataclass(frozen=True)
class Part:
    """Samples that are compared as one: all of a run, or those of a slice or category.

    Attributes:
        name: E.g. `category fire`; empty for all samples.
        old: The baseline's value of each sample, negated if less is better.
        new: The run's value of each.
        possible: Largest possible loss of each sample.
        clusters: Image of each sample.
        samples: Their ids.
        p: One-sided p-value of a loss, not corrected; 1 if nothing was lost.
    """

    name: str
    old: Numbers
    new: Numbers
    possible: Numbers
    clusters: Clusters
    samples: list[str]
    p: float

    @property
    def gains(self) -> Numbers:
        """New minus old for each sample; a loss is negative."""
        return self.new - self.old

    @property
    def gain(self) -> float:
        """Mean over the samples."""
        return float(self.gains.mean())

    @property
    def lost(self) -> list[str]:
        """Samples that lost, the largest losses first."""
        gains = self.gains
        order = np.argsort(gains, kind="stable")
        return [self.samples[place] for place in order if gains[place] < 0]


def part(
    name: str,
    old: Numbers,
    new: Numbers,
    possible: Numbers,
    clusters: Clusters,
    samples: list[str],
) -> Part:
    """Compare samples as one.

    Args:
        name: What to call them.
        old: The baseline's value of each sample, negated if less is better; no NaN.
        new: The run's value of each.
        possible: Largest possible loss of each sample.
        clusters: Image of each sample.
        samples: Their ids.

    Returns:
        The part. Its test flips the signs of whole images. Under the null hypothesis a run and its
        baseline are exchangeable, so the test is exact for any number of images and any grades.
    """
    moved = _by_image(new - old, clusters)
    moved = moved[moved != 0.0]
    sizes = np.abs(moved)
    # Both tests are symmetric: the one-sided p-value is half the two-sided one.
    p = 1.0
    if moved.sum() < 0:
        alike = sizes.max() - sizes.min() < 1e-9
        gained = int((moved > 0).sum())
        p = (mcnemar(gained, len(moved) - gained) if alike else permutation(moved)) / 2
    return Part(name, old, new, possible, clusters, samples, p)


def kinds(samples: Sequence[str], held: Iterable[str], reading: Reading) -> dict[str, Clusters]:
    """Slices, and categories that are large enough, with the positions of their samples.

    Args:
        samples: Ids.
        held: Ids of the samples with a value in the baseline. These decide whether a category is
            large enough: otherwise a category could disappear because samples lost their values.
        reading: Slice and category of each.

    Returns:
        Positions by name; nothing for a run with a single slice or category.
    """
    known = list(held)
    found: dict[str, Clusters] = {}
    for word, of, least in (
        ("slice", reading.slices, 1),
        ("category", reading.categories, SMALLEST_CATEGORY),
    ):
        names = np.array([of.get(sample, "") for sample in samples])
        several = sorted(set(of.values()))
        if len(several) > 1:
            sizes = Counter(of.get(sample, "") for sample in known)
            places = {name: np.flatnonzero(names == name) for name in several}
            found |= {
                f"{word} {name}": here
                for name, here in places.items()
                if len(here) and sizes[name] >= least
            }
    return found


def smallest_provable(looked_at: Part, level: float) -> float:
    """The smallest loss that is significant wherever it occurs.

    A loss in k images, with no gain elsewhere, has a p-value of 2^-k. So the samples of a few large
    images may all be lost without significance. In a comparison, the noise that is seen there
    counts too.

    Args:
        looked_at: The samples; all gains are 0 for a baseline alone.
        level: Level of the test, from 0 to 1.

    Returns:
        The loss, in the measure's unit; NaN if no loss could be significant.
    """
    few = math.floor(math.log2(1 / level))
    held = np.sort(_by_image(looked_at.possible, looked_at.clusters))[::-1]
    if np.count_nonzero(held > 0) <= few:
        return math.nan
    hidden = float(held[:few].sum())
    moved = _by_image(looked_at.gains, looked_at.clusters)
    return max(hidden, _critical(moved[moved != 0.0], level)) / len(looked_at.gains)


def _by_image(values: Numbers, clusters: Clusters) -> Numbers:
    _, codes = np.unique(clusters, return_inverse=True)
    sums: Numbers = np.bincount(codes, weights=values).astype(np.float64)
    return sums


def _critical(moved: Numbers, level: float) -> float:
    """The loss that random signs reach with probability `level`; 0 if no loss is so rare."""
    if len(moved) == 0 or 0.5 ** len(moved) >= level:
        return 0.0
    if level * _FLIPS < 1:  # Too rare for the number of flips: Hoeffding's bound.
        return float(np.sqrt(2 * (moved @ moved) * math.log(1 / level)))
    random = np.random.default_rng((_SEED, len(moved), 2))
    signs = random.integers(0, 2, size=(_FLIPS, len(moved)), dtype=np.int8) * np.int8(2) - 1
    return float(np.quantile(signs @ moved, 1 - level))
