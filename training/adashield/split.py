"""Draws the samples of each scenario from which a pool is made, and those that are left."""

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from inspect_ai.dataset import Sample

from vlmguard.guard.errors import UserError
from vlmguard.guard.messages import images_of


@dataclass(frozen=True)
class Split:
    """Samples by scenario.

    Attributes:
        train: For each of these a prompt is looked for.
        validation: With these of its scenario a prompt is checked.
        rest: Ids of the others, on which the defense can be evaluated.
    """

    train: dict[str, list[Sample]]
    validation: dict[str, list[Sample]]
    rest: list[str]

    def ids(self) -> dict[str, Any]:
        """The ids of all, by part."""
        return {
            "train": [str(each.id) for group in self.train.values() for each in group],
            "validation": [str(each.id) for group in self.validation.values() for each in group],
            "rest": self.rest,
        }


def draw_split(samples: Iterable[Sample], train: float, validation: float, seed: int) -> Split:
    """Draw the same shares of each scenario.

    Args:
        samples: Samples with a `category`; those that are not one image and a request are left out.
        train: Share to train on; rounded down, but at least one sample.
        validation: Share to validate with; likewise.
        seed: Seed of the drawing.

    Raises:
        UserError: No sample can be used, or a scenario has fewer than three.
    """
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if len(images_of(sample.input)) == 1 and len(sample.input) == 1:
            groups[str((sample.metadata or {}).get("category"))].append(sample)
    if not groups:
        raise UserError("no sample has one image and one request: a pool needs both.")
    split = Split({}, {}, [])
    for scenario in sorted(groups):
        group = sorted(groups[scenario], key=lambda sample: str(sample.id))
        random.Random(f"{seed}/{scenario}").shuffle(group)
        first = max(1, int(train * len(group) + 1e-9))
        second = first + max(1, int(validation * len(group) + 1e-9))
        if second >= len(group):
            raise UserError(
                f"the scenario {scenario} has {len(group)} samples, of which {first} to train on "
                f"and {second - first} to validate with leave none to evaluate on. Name a larger "
                "variant, or smaller shares (-T train=, -T validation=)."
            )
        split.train[scenario] = group[:first]
        split.validation[scenario] = group[first:second]
        split.rest.extend(sorted(str(each.id) for each in group[second:]))
    return split
