"""Says how far a training is: a line for each log of TRL, a bar between them on a terminal.

step 40/900  loss 1.234  lr 1.0e-04  12 rows/s  left 3 min
step 40/900  validation  loss 1.1  format rate 0.95
"""

import sys
import time
from collections.abc import Mapping
from typing import Any, Final

import datasets
import transformers

from vlmguard.guard.progress import counted, erase_status, is_terminal

__all__ = ["Told", "line_of", "no_bars_in_pipes", "show_lines"]

_SHORT: Final = {
    "loss": "loss",
    "learning_rate": "lr",
    "grad_norm": "gradient",
    "mean_token_accuracy": "token accuracy",
    "format_rate": "format rate",
    "intent_kept": "intent kept",
    "benign_unchanged": "benign unchanged",
    "reward": "reward",
    "reward_std": "reward sd",
    "kl": "kl",
    "completions/mean_length": "length",
}
"""What is shown of what TRL logs, in this order; all of it is in `trainer_state.json`."""


def no_bars_in_pipes() -> None:
    """Have the libraries draw their bars on terminals alone: elsewhere these are control signs."""
    if not is_terminal(sys.stderr):
        transformers.utils.logging.disable_progress_bar()
        datasets.disable_progress_bars()


def show_lines(trainer: Any) -> None:
    """Let a trainer of transformers print lines, in place of dicts."""
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.remove_callback(transformers.ProgressCallback)
    trainer.add_callback(Told())


class Told(transformers.TrainerCallback):  # type: ignore[misc]  # an untyped library
    """Prints a line for each log of a run, from its main process."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Start the clock."""
        self._began, self._first = time.monotonic(), state.global_step
        self._bar = counted("training: step", state.max_steps)
        self._validated = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Move the bar."""
        self._validated = 0
        if state.is_world_process_zero and not args.disable_tqdm:
            self._bar(state.global_step)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Show that it is validation which takes so long."""
        self._validated += 1
        if state.is_world_process_zero and not args.disable_tqdm:
            counted("validating: batch", None)(self._validated)

    def on_log(
        self,
        args: Any,
        state: Any,
        control: Any,
        logs: Mapping[str, Any] | None = None,
        **rest: Any,
    ) -> None:
        """Print what was logged."""
        erase_status()
        if not state.is_world_process_zero or not logs:
            return
        parts = [f"step {state.global_step}/{state.max_steps}", *line_of(logs)]
        steps = state.global_step - self._first
        if "loss" in logs and steps:
            seconds = time.monotonic() - self._began
            rows = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
            parts += [
                f"{steps * rows / seconds:.3g} rows/s",
                f"left {_duration((state.max_steps - state.global_step) * seconds / steps)}",
            ]
        if len(parts) > 1:
            print("  ".join(parts), flush=True)

    def on_train_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Erase the bar."""
        erase_status()


def line_of(logs: Mapping[str, Any]) -> list[str]:
    """What a log of TRL says, in words: `loss 1.234`, `lr 1.0e-04`.

    Args:
        logs: Values by TRL's names; `eval_` before a name is validation, `train_` the whole run.
    """
    if "train_runtime" in logs:
        said = [f"done in {_duration(logs['train_runtime'])}"]
        return [*said, *([f"mean loss {logs['train_loss']:.4g}"] if "train_loss" in logs else [])]
    validation = any(name.startswith("eval_") for name in logs)
    known = {name.removeprefix("eval_"): value for name, value in logs.items()}
    said = [
        f"{short} {_number(name, known[name])}"
        for name, short in _SHORT.items()
        if isinstance(known.get(name), int | float)
    ]
    return ["validation", *said] if validation and said else said


def _number(name: str, value: float) -> str:
    return f"{value:.1e}" if name == "learning_rate" else f"{value:.4g}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
