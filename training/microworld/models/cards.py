"""The card beside a shipped model's weights, and whether the model still fits this code."""

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
    """How a model was made, and how good it is.

    Attributes:
        name: The model.
        kind: Architecture.
        parameters: Their number.
        seed: Seed of weights and course, of the attempt that was kept.
        steps: Optimizer steps; for a target, those of the main part of its course.
        batch: Examples per step.
        minutes: Training time.
        templates: Hash of the templates that it learned.
        world: Hash of the world that it learned.
        metrics: Exact match or accuracy on pairs of the validation and the test split.
        versions: Versions of the libraries that made it.
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
        """Write the card into the model's folder."""
        (folder / CARD).write_text(json.dumps(asdict(self), indent=2) + "\n")

    @property
    def fits(self) -> bool:
        """Whether templates and world are still those that the model learned."""
        return (self.templates, self.world) == (templates_hash(), world_hash())


def load_card(folder: Path) -> Card:
    """Read the card in a model's folder.

    Raises:
        FileNotFoundError: There is no card: the model is not finished.
    """
    return Card(**json.loads((folder / CARD).read_text()))


def world_hash() -> str:
    """Identity of the world: hazards, splits, sentences, drawings, levels; 12 hex digits."""
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
    """Identity of the weights in a model's folder: 12 hex digits.

    Raises:
        FileNotFoundError: It has no weights.
    """
    return hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()[:12]


def versions() -> dict[str, str]:
    """Versions of the libraries that affect training."""
    import torch
    import transformers

    return {"torch": torch.__version__.partition("+")[0], "transformers": transformers.__version__}
