"""Makes the rewriter with the commands that are documented for real models.

Rows are drawn, synthesized with the world's reasoner, exported and trained on, each through the
entry point of its command. Then the weights are halved in precision and examined.
"""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vlmguard.guard.errors import UserError
from vlmguard.training.dataset.export import export
from vlmguard.training.finetune.config_file import load_config
from vlmguard.training.microworld.models.cards import CARD
from vlmguard.training.microworld.world.raw_rows import HELD_OUT, ROWS, write_rows

CONFIG: Final = "microworld"
DRAWINGS: Final = 2
"""The shipped rewriter's rows have this many times the drawings that `rows` writes by default."""

PROMPT: Final = 1
"""Version of the rewriter's prompt for base and rewriter, in training and in use."""


@dataclass(frozen=True)
class Made:
    """Figures of the four commands.

    Attributes:
        rows: Raw rows that went into the synthesis.
        kept: Rows that were kept and exported.
        steps: Optimizer steps.
        batch: Rows per step.
        seed: Seed of the training.
        loss: Mean loss of the training.
    """

    rows: int
    kept: int
    steps: int
    batch: int
    seed: int
    loss: float


def steps_of(effort: float) -> int:
    """Optimizer steps of the training: the given share (> 0, at most 1) of its configuration's."""
    steps: int = load_config(CONFIG).trainer["max_steps"]
    return math.ceil(steps * effort)


def make(base: Path, work: Path, *, drawings: int = DRAWINGS, effort: float = 1.0) -> Made:
    """Run rows, synthesize, export and train.

    Args:
        base: Checkpoint of the base.
        work: Folder for all intermediate files; the model is in `work/rewriter`.
        drawings: As for `vlmguard microworld rows`.
        effort: Share of the rows and of the steps (> 0, at most 1).

    Returns:
        Figures for the card.

    Raises:
        UserError: The synthesis did not finish, or an error of a command.
    """
    from inspect_ai import eval as inspect_eval

    from vlmguard.training.finetune.train import train
    from vlmguard.training.synthesize import synthesize

    count = write_rows(work / "rows", drawings=drawings)
    (log,) = inspect_eval(
        synthesize(
            data=str(work / "rows" / ROWS),
            safety=math.ceil(effort * count["hazardous"]),
            benign=math.ceil(effort * count["benign"]),
        ),
        model=None,
        model_roles={"reasoner": "microworld/reasoner"},
        log_dir=str(work / "logs"),
        display="none",
    )
    if log.status != "success":
        raise UserError(f"The synthesis ended with status {log.status}: see {log.location}.")
    provenance = export(
        [work / "logs"],
        work / "data",
        prompt=PROMPT,
        own_sets=[work / "rows" / HELD_OUT],
        leak_key="pair",
    )
    given = {
        "data": str(work / "data"),
        "output_dir": str(work / "rewriter"),
        "model": str(base),
        "disable_tqdm": True,
    }
    config = load_config(CONFIG, given)
    steps = steps_of(effort)
    metrics = train(load_config(CONFIG, given | {"max_steps": steps}))
    return Made(
        rows=provenance["rows"]["read"],
        kept=provenance["rows"]["exported"],
        steps=steps,
        batch=config.trainer["per_device_train_batch_size"],
        seed=config.trainer["seed"],
        loss=round(metrics["train_loss"], 4),
    )


def finish(trained: Path, base: Path, folder: Path) -> None:
    """Write the shipped files: half-precision weights, with the base's own processor files.

    Args:
        trained: Result of the training.
        base: Checkpoint of the base.
        folder: The folder to write.
    """
    import torch
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    model = transformers.AutoModelForImageTextToText.from_pretrained(trained, dtype=torch.float16)
    model.save_pretrained(folder)
    for file in base.iterdir():
        part_of_it = file.suffix in (".json", ".jinja") and file.name != CARD
        if part_of_it and not (folder / file.name).exists():
            shutil.copyfile(file, folder / file.name)
