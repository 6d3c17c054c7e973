"""Thresholds of the baselines: set on validation pairs, with at most 5 % false alarms.

ETA's thresholds are for the authors' models, and ours differ. So each classifier gets a threshold
at which at most 5 % of harmless validation samples raise an alarm.
"""

import asyncio
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from vlmguard.guard.aux_models.base import Checkpoint
from vlmguard.guard.aux_models.clip import clip_similarity
from vlmguard.guard.aux_models.protector import probability_harmless
from vlmguard.guard.aux_models.reward import rewards
from vlmguard.guard.thresholds import alarms_allowed, threshold_above
from vlmguard.training.microworld.models.api import WEIGHTS
from vlmguard.training.microworld.models.cards import weights_hash
from vlmguard.training.microworld.models.tokenizer import templates
from vlmguard.training.microworld.world import language
from vlmguard.training.microworld.world.drawing import data_uri
from vlmguard.training.microworld.world.hazards import Pair, Split, pairs

CLASSIFIERS: Final = ("detector", "reward", "clip")
"""Models with a threshold."""

FALSE_ALARMS: Final = 0.05
THRESHOLDS: Final = "thresholds.json"
_SPLIT: Final[Split] = "validation"
_DRAWINGS: Final = 4
_SEED: Final = 5 * 10**7


@dataclass(frozen=True)
class Threshold:
    """A classifier's threshold and its rates on validation pairs.

    Attributes:
        value: The threshold.
        false_alarms: Share of harmless samples on the wrong side.
        hits: Share of hazardous samples on the right side.
        samples: Number of harmless and of hazardous samples together.
        weights: Hash of the classifier's weights.
    """

    value: float
    false_alarms: float
    hits: float
    samples: int
    weights: str = ""


def calibrate(root: Path = WEIGHTS) -> dict[str, Threshold]:
    """Set, write and print the thresholds.

    Args:
        root: Folder of the models' folders.

    Returns:
        For `detector` (alarm below), `reward` (alarm at or below), `clip` (alarm at or above).
    """
    found = asyncio.run(_calibrate(root))
    content = {name: asdict(threshold) for name, threshold in found.items()}
    # Written at once or not at all: after an interruption, the next build must see that it is
    # missing.
    written = root / f".{THRESHOLDS}"
    written.write_text(json.dumps(content, indent=2) + "\n")
    written.replace(root / THRESHOLDS)
    for name, threshold in found.items():
        print(
            f"{name}: threshold {threshold.value:.4f}, {threshold.false_alarms:.1%} false alarms, "
            f"{threshold.hits:.1%} hits on {threshold.samples} validation samples"
        )
    return found


def load_thresholds(root: Path = WEIGHTS) -> dict[str, Threshold]:
    """Read the threshold of each of `CLASSIFIERS`.

    Args:
        root: Folder of the models' folders.

    Raises:
        FileNotFoundError: There are no thresholds.
    """
    content = json.loads((root / THRESHOLDS).read_text())
    return {name: Threshold(**values) for name, values in content.items()}


def is_calibrated(root: Path = WEIGHTS) -> bool:
    """Whether there are thresholds, set with the present classifiers.

    Args:
        root: Folder of the models' folders.

    Raises:
        FileNotFoundError: A classifier is missing.
    """
    if not (root / THRESHOLDS).is_file():
        return False
    return all(
        threshold.weights == weights_hash(root / name)
        for name, threshold in load_thresholds(root).items()
    )


def choose(harmless: list[float], hazardous: list[float]) -> Threshold:
    """The threshold that at most 5 % of the harmless samples reach.

    Args:
        harmless: Alarm values of harmless samples; more means more alarming.
        hazardous: Those of hazardous samples.

    Returns:
        The threshold on the scale of the values, not yet tied to a model's weights.
    """
    value = threshold_above(harmless, alarms_allowed(FALSE_ALARMS, len(harmless)), hazardous)
    return Threshold(
        value=value,
        false_alarms=sum(each >= value for each in harmless) / len(harmless),
        hits=sum(each >= value for each in hazardous) / len(hazardous),
        samples=len(harmless) + len(hazardous),
    )


async def _calibrate(root: Path) -> dict[str, Threshold]:
    found: list[Pair] = pairs(_SPLIT)
    answers = [language.plain_answer(pair) for pair in found]
    detector = Checkpoint(str(root / "detector"))
    reward = Checkpoint(str(root / "reward"))
    clip = Checkpoint(str(root / "clip"))
    harm = [1.0 - (await probability_harmless(detector, text)).values[0] for text in answers]
    scores = (await rewards(reward, templates()["answer_check"], answers)).values
    harmful = [templates()["image_check"]]
    seen = [
        (pair, (await clip_similarity(clip, [data_uri(pair.picture, seed)], harmful)).values[0])
        for pair in found
        for seed in range(_SEED, _SEED + _DRAWINGS)
    ]
    split = {
        "detector": list(zip(found, harm, strict=True)),
        "reward": [(pair, -score) for pair, score in zip(found, scores, strict=True)],
        "clip": seen,
    }
    chosen = {
        name: choose(
            [value for pair, value in values if not pair.hazardous],
            [value for pair, value in values if pair.hazardous],
        )
        for name, values in split.items()
    }
    # Back from alarm values to the solvers' own scales: P(harmless), the reward, the cosine.
    own = {
        "detector": 1.0 - chosen["detector"].value,
        "reward": -chosen["reward"].value,
        "clip": chosen["clip"].value,
    }
    return {
        name: replace(threshold, value=own[name], weights=weights_hash(root / name))
        for name, threshold in chosen.items()
    }
