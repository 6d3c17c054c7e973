"""Rows for SFT and GRPO, and the seconds of each optimizer step."""

import statistics
from pathlib import Path
from typing import Any

import transformers
from bench.gpu.machine import now, peak, start_peak
from bench.gpu.scale import Scale
from support.checkpoints import picture
from support.training_data import export_row, write_export

from vlmguard.training.finetune.config import TrainConfig
from vlmguard.training.finetune.train import build_trainer
from vlmguard.training.finetune.traindata import load_training_data
from vlmguard.training.finetune.trl_options import trl_arguments

ROWS = 96

NOTHING_BESIDE: dict[str, Any] = {
    "save_strategy": "no",
    "eval_strategy": "no",
    "warmup_steps": 0,
    "disable_tqdm": True,
}
"""Settings with which only the steps are measured."""


def training_rows(work: Path, scale: Scale) -> Path:
    """An export with pictures of the largest size in the ready configurations."""
    folder = work / f"rows-{scale.name}"
    if not (folder / "provenance.json").exists():  # written last
        rows = [
            export_row(index, benign=index % 2 == 0, image=picture(index, scale.training_picture))
            for index in range(ROWS)
        ]
        write_export(folder, rows=rows, validation_rows=rows[:4])
    return folder


class StepClock(transformers.TrainerCallback):  # type: ignore[misc]  # an untyped library
    """Notes when each optimizer step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.ends.append(now())

    @property
    def seconds(self) -> list[float]:
        """Seconds of each step but the first, including the time between two steps."""
        return [end - start for start, end in zip(self.ends, self.ends[1:], strict=False)]


def measure(name: str, unit: str, config: TrainConfig) -> dict[str, Any]:
    """Train, and print the cost of a step.

    Args:
        name: The text before the figures.
        unit: The unit of a step.
        config: The run, of two steps or more.

    Returns:
        TRL's last log about steps.
    """
    options = trl_arguments(config)
    start_peak()
    start = now()
    trainer = build_trainer(config, options, load_training_data(config, evaluated=False))
    print(f"{name}: model and rows ready after {now() - start:.1f} s", flush=True)
    clock = StepClock()
    trainer.add_callback(clock)
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    middle = statistics.median(clock.seconds)
    rows = options.train_batch_size * options.gradient_accumulation_steps
    spread = f"{min(clock.seconds):.2f} to {max(clock.seconds):.2f}"
    print(
        f"{name}: a step of {rows} {unit} takes {middle:.2f} s (median of {len(clock.seconds)}, "
        f"{spread}), {rows / middle:.2f} {unit}/s; {peak()}",
        flush=True,
    )
    logged: dict[str, Any] = [entry for entry in trainer.state.log_history if "loss" in entry][-1]
    return logged
