"""What a shipped model is: a card beside its weights, and whether it still fits this code."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from vlmguard.training.microworld.models import tokenizer
from vlmguard.training.microworld.models.tokenizer import templates_hash, world_texts
from vlmguard.training.microworld.world import language
from vlmguard.training.microworld.world.drawing import draw
from vlmguard.training.microworld.world.hazards import HAZARDOUS, PICTURES, pairs
from vlmguard.training.microworld.world.levels import LEVELS, SEEN_BY_CLIP, SEEN_BY_DETECTOR

CARD: Final = "card.json"
WEIGHTS_FILE: Final = "model.safetensors"


@dataclass(frozen=True)
class Card:
    """How a model was made and how good it is.

    Attributes:
        name: The model.
        kind: Architecture.
        parameters: Their number.
        seed: Of weights and course; of several attempts the one that was kept.
        steps: Optimizer steps; of a target those of the main part of its course.
        batch: Examples a step.
        minutes: Training time.
        templates: Hash of the templates that it was taught.
        world: Hash of the world that it was taught.
        metrics: Exact match or accuracy on pairs of the validation and the test split.
        versions: Of the libraries that made it.
    """

    name: str
    kind: str
    parameters: int
    seed: int
    steps: int
    batch: int
    minutes: float
    templates: str
    world: str
    metrics: dict[str, Any]
    versions: dict[str, str]

    def save(self, folder: Path) -> None:
        """Write the card.

        Args:
            folder: The model's folder.
        """
        (folder / CARD).write_text(json.dumps(asdict(self), indent=2) + "\n")

    @property
    def fits(self) -> bool:
        """Whether templates and world are still those that the model was taught."""
        return (self.templates, self.world) == (templates_hash(), world_hash())


def load_card(folder: Path) -> Card:
    """Read a card.

    Args:
        folder: The model's folder.

    Returns:
        The card.

    Raises:
        FileNotFoundError: There is none: the model has not been finished.
    """
    return Card(**json.loads((folder / CARD).read_text()))


def world_hash() -> str:
    """Identity of the world: hazards, splits, all that is said, drawings, levels; 12 hex digits."""
    digest = hashlib.sha256(HAZARDOUS.encode())
    said = (
        *world_texts(),
        *(language.REFUSAL, language.GENERAL_CAUTION, tokenizer.CHAT_TEMPLATE),
        *(tokenizer.READ, tokenizer.LOOK, tokenizer.COULD, tokenizer.ASKED),
        *(pair.split for pair in pairs()),
    )
    digest.update(json.dumps(said).encode())
    for picture in PICTURES.values():
        digest.update(draw(picture, 0).tobytes())
    levels = {
        name: {key: sorted(kinds) for key, kinds in asdict(level).items()}
        for name, level in LEVELS.items()
    }
    seen = [levels, sorted(SEEN_BY_DETECTOR), sorted(SEEN_BY_CLIP)]
    digest.update(json.dumps(seen, sort_keys=True).encode())
    return digest.hexdigest()[:12]


def weights_hash(folder: Path) -> str:
    """Identity of a model's weights: 12 hex digits.

    Args:
        folder: The model's folder.

    Raises:
        FileNotFoundError: It has no weights.
    """
    return hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()[:12]


def versions() -> dict[str, str]:
    """Versions of the libraries that decide what training gives."""
    import torch
    import transformers

    return {"torch": torch.__version__.partition("+")[0], "transformers": transformers.__version__}
