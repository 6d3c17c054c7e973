"""What is on the disk stays loadable: after a kill, and when the disk is full.

A checkpoint counts as complete when its `trainer_state.json`, which is written last, can be read.
Runs go on from the last complete one. The result is written into a folder of its own and only
moved to its place when all of it is there.
"""

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from vlmguard.errors import UserError
from vlmguard.training.config import TrainConfig

logger = logging.getLogger(__name__)

RUN_FILE: Final = "train_config.json"
STAGE: Final = ".unfinished"

# What must be the same for checkpoints of one run to belong together.
_IDENTITY: Final = (
    *("method", "model", "revision", "peft", "adapter"),
    *("lora_r", "lora_alpha", "train_vision", "data_sha256"),
)


def complete_checkpoints(output_dir: Path) -> list[Path]:
    """Checkpoints that can be gone on from, oldest first.

    Args:
        output_dir: The run's folder.

    Returns:
        Folders `checkpoint-N`, by rising N. Incomplete ones are left out, with a warning.
    """
    found = []
    for folder in output_dir.glob("checkpoint-*"):
        try:
            state = json.loads((folder / "trainer_state.json").read_text())
            found.append((int(state["global_step"]), folder))
        except (OSError, ValueError, KeyError, TypeError):
            logger.warning("%s is incomplete (saving was interrupted) and is passed over.", folder)
    return [folder for _, folder in sorted(found)]


def begin(output_dir: Path, config: TrainConfig, data_sha256: str, *, main: bool) -> str | None:
    """Open a run's folder: note the run, find where to go on.

    Args:
        output_dir: The run's folder; made if need be.
        config: The run.
        data_sha256: Identity of the data.
        main: Whether this process writes.

    Returns:
        The checkpoint to go on from, or None for a new run.

    Raises:
        UserError: The folder holds checkpoints of another run, or `resume: false` would overwrite
            some; or it cannot be written to.
    """
    run = asdict(config) | {"data_sha256": data_sha256}
    last = complete_checkpoints(output_dir)[-1:]
    if last:
        _check_same_run(output_dir, run)
        if not config.resume:
            raise UserError(
                f"output_dir: {output_dir} holds checkpoints, and resume is false. Choose another "
                "output_dir, or delete it."
            )
        logger.info("Going on from %s.", last[0])
    if main:
        try:
            output_dir.mkdir(parents=True, exist_ok=True)
            _write_whole(output_dir / RUN_FILE, json.dumps(run, indent=2) + "\n")
        except OSError as error:
            raise UserError(f"output_dir: {output_dir} cannot be written to: {error}.") from error
    return str(last[0]) if last else None


@contextmanager
def saving_errors(output_dir: Path) -> Iterator[None]:
    """Turn a failure to save into a message that says what is still there.

    Args:
        output_dir: The run's folder.

    Raises:
        UserError: In place of the error.
    """
    try:
        yield
    except Exception as error:  # each library has its own class for a failed write
        logger.warning("Saving failed.", exc_info=True)
        complete = complete_checkpoints(output_dir)
        for folder in output_dir.glob("checkpoint-*"):
            if folder not in complete:
                shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(output_dir / STAGE, ignore_errors=True)
        kept = f"{complete[-1]} is complete" if complete else "no checkpoint was complete yet"
        raise UserError(
            f"Saving to {output_dir} failed: {error}. {kept}; what was written of the new one has "
            "been removed. Make room and start the same command again: it goes on from there."
        ) from error


class CarefulSaving:
    """For trainers: checkpoints are saved under `saving_errors`, and without TRL's own card."""

    args: Any

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        with saving_errors(Path(self.args.output_dir)):
            super()._save_checkpoint(model, trial)  # type: ignore[misc]

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """No card at each checkpoint; ours is written with the result."""


def put_result(trainer: Any, output_dir: Path, card: str) -> None:
    """Save the result and move it to its place once all of it is written.

    Args:
        trainer: The trainer; every process has to call this.
        output_dir: The run's folder.
        card: The model card.

    Raises:
        UserError: A file cannot be written; an earlier result is then untouched.
    """
    stage = output_dir / STAGE
    with saving_errors(output_dir):
        trainer.save_model(str(stage))
        if not trainer.is_world_process_zero():
            return
        (stage / "training_args.bin").unlink(missing_ok=True)  # a pickle that nobody needs
        (stage / "README.md").write_text(card, encoding="utf-8")
        for file in sorted(stage.iterdir()):
            os.replace(file, output_dir / file.name)
        stage.rmdir()


def _check_same_run(output_dir: Path, run: dict[str, Any]) -> None:
    try:
        earlier = json.loads((output_dir / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"output_dir: {output_dir} holds checkpoints, but its {RUN_FILE} cannot be read "
            f"({error}), so nobody knows of which run. Choose another output_dir."
        ) from error
    changed = [
        f"{name} ({earlier.get(name)} -> {run[name]})"
        for name in _IDENTITY
        if earlier.get(name) != run[name]
    ]
    if changed:
        raise UserError(
            f"output_dir: {output_dir} holds checkpoints of another run; changed: "
            f"{', '.join(changed)}. Choose another output_dir, or delete it."
        )


def _write_whole(file: Path, text: str) -> None:
    part = file.with_name(file.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, file)
