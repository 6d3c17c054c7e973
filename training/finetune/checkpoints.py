"""Keeps files on the disk loadable, after a kill and when the disk is full.

A checkpoint is complete if its `trainer_state.json`, which is written last, can be read. Runs
continue from the last complete one. The result is first written completely into a separate folder,
then moved to its place file by file, so that a full disk leaves the earlier result unchanged. A
kill between two of these renames mixes files of both; the same command repairs that. The card comes
last, so that an error in it cannot cost the weights. `training/finetune/resume.py` loads a
checkpoint.
"""

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError

from vlmguard.guard.errors import UserError
from vlmguard.guard.redaction import redact
from vlmguard.guard.rewriter.taught import write_statement
from vlmguard.training.finetune.config import TrainConfig
from vlmguard.training.finetune.hub import hub_errors
from vlmguard.training.finetune.resume import load_weights

logger = logging.getLogger(__name__)

RUN_FILE: Final = "train_config.json"
CARD_FILE: Final = "README.md"
STAGE: Final = ".unfinished"

FORMAT: Final = 2
"""Version of the files in a run's folder. 2: runs with `peft: none` always continued from the
weights of their own checkpoints.
"""

# Settings that may differ between checkpoints of one run; all others must be the same. Rows are
# identified by their hash, not by their folder; batches by their size over all processes; and a
# longer run is allowed.
_FREE: Final = {
    *("data", "output_dir", "trainer", "resume", "strict_text", "trust_remote_code", "format"),
    *("attn_implementation", "quality_rows", "quality_batch_size", "quality_max_tokens"),
    "failed_calls",
}
_FREE_OF_TRL: Final = (
    *("max_steps", "num_train_epochs", "per_device_", "gradient_accumulation_steps"),
    *("gradient_checkpointing", "activation_checkpointing", "dataset_num_proc"),
    *("dataloader_num_workers", "dataloader_p"),
    *("logging_", "log_", "eval_", "save_", "report_to", "run_name", "project", "disable_tqdm"),
    *("push_to_hub", "hub_", "trackio_", "use_cpu", "ddp_", "fsdp", "deepspeed", "vllm_"),
)

# PyTorch and tokenizers raise plain `RuntimeError` and `Exception` if a file cannot be written.
_WRITE_FAILED: Final = ("os error", "PytorchStreamWriter", "inline_container", "iostream")


def complete_checkpoints(output_dir: Path) -> list[Path]:
    """Checkpoints from which a run can continue, oldest first.

    Returns:
        Folders `checkpoint-N`, by rising N. Incomplete ones are left out, with a warning.
    """
    found = []
    for folder in output_dir.glob("checkpoint-*"):
        try:
            found.append((checkpoint_step(folder), folder))
        except (OSError, ValueError, KeyError, TypeError):
            logger.warning("%s is incomplete (saving was interrupted) and is passed over.", folder)
    return [folder for _, folder in sorted(found)]


def begin(
    output_dir: Path, config: TrainConfig, data_sha256: str, *, rows_per_step: int, main: bool
) -> str | None:
    """Open a run's folder: note the run, and find the checkpoint to continue from.

    Args:
        output_dir: The run's folder; made if it is missing.
        config: The run.
        data_sha256: Identity of the data.
        rows_per_step: Rows between two updates of the weights, over all processes.
        main: Whether this process writes.

    Returns:
        The checkpoint to continue from, or None for a new run.

    Raises:
        UserError: The folder holds checkpoints or the result of another run, checkpoints that an
            older version continued wrongly, or `resume: false` would overwrite checkpoints; or it
            cannot be written to.
    """
    # A secret is stored as a digest, which shows whether the run is the same.
    run = redact(config.model_dump()) | {
        "data_sha256": data_sha256,
        "rows_per_step": rows_per_step,
        "format": FORMAT,
    }
    text = json.dumps(run, indent=2, default=str) + "\n"
    run = json.loads(text)  # in the form that is read later
    last = complete_checkpoints(output_dir)[-1:]
    if last:
        _check_same_run(output_dir, run, "checkpoints")
    elif any(output_dir.glob("*.safetensors")) or (output_dir / CARD_FILE).exists():
        _check_same_run(output_dir, run, "the result")
    if last:
        if not config.resume:
            raise UserError(
                f"output_dir: {output_dir} holds checkpoints, and resume is false. Choose another "
                "output_dir, or delete it."
            )
        if config.peft == "none":
            _check_format(output_dir, last[0])
        logger.info("Going on from %s.", last[0])
    if main:
        try:
            output_dir.mkdir(parents=True, exist_ok=True)
            if (output_dir / STAGE).exists():  # a run was killed while saving its result
                shutil.rmtree(output_dir / STAGE)
            _write_whole(output_dir / RUN_FILE, text)
        except OSError as error:
            raise UserError(f"output_dir: {output_dir} cannot be written to: {error}.") from error
    return str(last[0]) if last else None


def checkpoint_step(folder: Path) -> int:
    """The number of steps at which a complete checkpoint was saved."""
    return int(json.loads((folder / "trainer_state.json").read_text())["global_step"])


@contextmanager
def saving_errors(output_dir: Path) -> Iterator[None]:
    """Turn a failure to save into a message that says which files are still there.

    Raises:
        UserError: Replaces the error of a failed write; other errors pass.
    """
    try:
        yield
    except Exception as error:
        if not _is_failed_write(error):
            raise
        logger.warning("Saving failed.", exc_info=True)
        complete = complete_checkpoints(output_dir)
        for folder in output_dir.glob("checkpoint-*"):
            if folder not in complete:
                shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(output_dir / STAGE, ignore_errors=True)
        kept = f"{complete[-1]} is complete" if complete else "no checkpoint was complete yet"
        raise UserError(
            f"Saving to {output_dir} failed: {error}. {kept}; what was written of the new one has "
            "been removed. Make room, or put right what the error names, and start the same "
            "command again: it goes on from there."
        ) from error


class CarefulSaving:
    """For trainers: saves checkpoints under `saving_errors`, and without TRL's own card.

    `load_weights` loads their weights, when a run continues and for the best weights at its end.
    (FSDP and DeepSpeed have their own files for that, with the model's own names.)
    """

    args: Any
    model: Any
    state: Any
    is_fsdp_enabled: bool
    is_deepspeed_enabled: bool

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]
        else:
            load_weights(self.model, Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_best_model()  # type: ignore[misc]
        else:
            load_weights(self.model, Path(self.state.best_model_checkpoint))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        with saving_errors(Path(self.args.output_dir)):
            super()._save_checkpoint(model, trial)  # type: ignore[misc]
            # A pickle of all settings, including tokens, which no code here reads.
            for file in Path(self.args.output_dir).glob("checkpoint-*/training_args.bin"):
                file.unlink(missing_ok=True)

    def init_hf_repo(self, *args: Any, **kwargs: Any) -> None:
        with hub_errors("push_to_hub: the repository cannot be made or found"):
            super().init_hf_repo(*args, **kwargs)  # type: ignore[misc]

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write no card for checkpoints; ours is written with the result."""


def put_result(trainer: Any, output_dir: Path, prompt: int) -> list[str]:
    """Save weights and processor completely, then move the files to their place.

    Args:
        trainer: The trainer; every process has to call this.
        output_dir: The run's folder.
        prompt: Version of the rewriter's prompt in the rows, stated beside the weights.

    Returns:
        The names of the moved files; empty except in the main process.

    Raises:
        UserError: A file cannot be written; an earlier result is then unchanged.
    """
    stage = output_dir / STAGE
    with saving_errors(output_dir):
        # As an internal call, since otherwise it would upload the whole folder.
        trainer.save_model(str(stage), _internal_call=True)
        if not trainer.is_world_process_zero():
            return []
        (stage / "training_args.bin").unlink(missing_ok=True)  # a pickle that is not needed
        # GRPO keeps the adapter from which it started, to compare with.
        shutil.rmtree(stage / "ref", ignore_errors=True)
        write_statement(stage, prompt)
        names = sorted(file.name for file in stage.iterdir())
        for name in names:
            if (output_dir / name).is_dir():  # a folder cannot replace another that has files
                shutil.rmtree(output_dir / name)
            os.replace(stage / name, output_dir / name)
        stage.rmdir()
    return names


def put_card(output_dir: Path, card: str) -> None:
    """Write the model card of a result that is in its place.

    Raises:
        UserError: It cannot be written.
    """
    with saving_errors(output_dir):
        _write_whole(output_dir / CARD_FILE, card)


def _is_failed_write(error: BaseException) -> bool:
    if isinstance(error, OSError | SafetensorError):
        return True
    return type(error) in (Exception, RuntimeError) and any(
        mark in str(error) for mark in _WRITE_FAILED
    )


def _check_same_run(output_dir: Path, run: dict[str, Any], there: str) -> None:
    try:
        was = _identity(redact(json.loads((output_dir / RUN_FILE).read_text(encoding="utf-8"))))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"output_dir: {output_dir} holds {there}, but its {RUN_FILE} cannot be read "
            f"({error}), so nobody knows of which run. Choose another output_dir."
        ) from error
    wanted = _identity(run)
    changed = [
        f"{name} ({was.get(name)} -> {wanted.get(name)})"
        for name in sorted(was.keys() | wanted.keys())
        if was.get(name) != wanted.get(name)
    ]
    if changed:
        raise UserError(
            f"output_dir: {output_dir} holds {there} of another run; changed: "
            f"{', '.join(changed)}. Choose another output_dir, or delete it."
        )


def _check_format(output_dir: Path, last: Path) -> None:
    """Refuse weights that an older version may have reset to the base's."""
    run = json.loads((output_dir / RUN_FILE).read_text(encoding="utf-8"))
    if run.get("format", 1) < FORMAT:
        raise UserError(
            f"output_dir: {last} was written by an older vlmguard, which went on from checkpoints "
            "of peft: none with the base's weights and did not say so. Whether that happened here "
            "cannot be seen. Choose another output_dir, or delete it, and train anew."
        )


def _identity(run: dict[str, Any]) -> dict[str, Any]:
    """The settings that decide the result of a run, without those that the user left to TRL."""
    own = {name: value for name, value in run.items() if name not in _FREE}
    trl = {k: v for k, v in run["trainer"].items() if not k.startswith(_FREE_OF_TRL)}
    return own | trl


def _write_whole(file: Path, text: str) -> None:
    part = file.with_name(file.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, file)
