"""Second stage: train on what is evaluated, by GRPO (`method: grpo`).

Rewards come from `reward.py`, and the trainer is TRL's. If too many calls to target and judge fail,
the run ends with a checkpoint of the last whole step, from which the same command continues
exactly.

GRPO is due to Shao et al., DeepSeekMath, https://arxiv.org/abs/2402.03300. As far as is known,
VLMGuard-R1 itself is trained only by supervised fine-tuning; this stage is ours.
"""

import math
import random
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
import transformers
import trl

from vlmguard.guard.errors import UserError
from vlmguard.guard.hf_vlm.processor import PromptMaker
from vlmguard.training.finetune.calls import Calls
from vlmguard.training.finetune.checkpoints import CarefulSaving, complete_checkpoints
from vlmguard.training.finetune.config import TrainConfig
from vlmguard.training.finetune.reward import Reward

COLUMNS: Final = ("prompt", "images", "id", "benign", "original", "rewritten")

KEPT: Final = "verdicts"
"""Folder in `output_dir` with the replies of target and judges."""


def build_grpo_trainer(config: TrainConfig, maker: PromptMaker, common: dict[str, Any]) -> Any:
    """TRL's `GRPOTrainer` with our reward.

    Args:
        config: The run.
        maker: The prompt maker.
        common: Model, TRL's configuration, rows and LoRA configuration.

    Returns:
        The trainer.

    Raises:
        UserError: As for `Reward` and `Calls`.
    """
    rows = {
        name: common[name].select_columns(list(COLUMNS)) if common[name] is not None else None
        for name in ("train_dataset", "eval_dataset")
    }
    arguments = common["args"]
    kept = Path(arguments.output_dir) / KEPT
    calls = Calls(kept, config.failed_calls, arguments.process_index)
    return RewardedTrainer(
        **{**common, **rows},
        reward=Reward(config, calls),
        processing_class=maker.processor,
        callbacks=[WholeBatches()],
    )


class RewardedTrainer(CarefulSaving, trl.GRPOTrainer):  # type: ignore[misc]
    """TRL's trainer with our reward and our saving.

    Args:
        reward: The reward.
        **rest: As for `GRPOTrainer`.
    """

    def __init__(self, *, reward: Reward, **rest: Any) -> None:
        # TRL accepts coroutines too, although its types do not say so.
        super().__init__(reward_funcs=cast("Any", reward), **rest)
        self._calls = reward.calls
        self._settled = _randomness()

    def train(self, *args: Any, **rest: Any) -> Any:
        """Train.

        Raises:
            UserError: Too many calls failed; a checkpoint holds the trained weights.
        """
        try:
            return super().train(*args, **rest)
        except _TooManyFailed as error:
            raise UserError(
                f"{error} {self._keep()} Put right what failed, and start the same command again: "
                "it goes on from there, and pays for nothing twice."
            ) from error

    def _calculate_rewards(self, *args: Any, **rest: Any) -> Any:
        rewards = super()._calculate_rewards(*args, **rest)
        trouble = self._calls.trouble
        # All processes must end together, since saving needs all of them.
        flag = torch.tensor([trouble is not None], device=self.accelerator.device)
        gathered: Any = self.accelerator.gather(flag)
        if gathered.any():
            raise _TooManyFailed(trouble or "Too many calls of another process failed.")
        return rewards

    def _maybe_log_save_evaluate(self, *args: Any, **rest: Any) -> None:
        self._settled = _randomness()
        super()._maybe_log_save_evaluate(*args, **rest)
        self._settled = _randomness()

    def _keep(self) -> str:
        """Save the last whole step, with the random states at the start of the next one."""
        step, folder = self.state.global_step, Path(self.args.output_dir)
        checkpoint = folder / f"checkpoint-{step}"
        if not step:
            return "No step had been made."
        if checkpoint not in complete_checkpoints(folder):
            _set_randomness(self._settled)
            self._save_checkpoint(self.model, None)
        return f"What was trained, {step} steps, is kept in {checkpoint}."


class WholeBatches(transformers.TrainerCallback):  # type: ignore[misc]  # an untyped library
    """Refuses to save within a batch of rewrites, from where a run could not continue exactly.

    A batch may serve several steps (`steps_per_generation`, `num_iterations`). Checkpoints do not
    hold it, so a run that continues from one would sample another batch.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Compare `save_steps` with the steps that a batch serves.

        Raises:
            UserError: It is not a multiple.
        """
        micro = args.steps_per_generation * args.num_iterations
        steps = micro // math.gcd(micro, args.gradient_accumulation_steps)
        if args.save_strategy == "steps" and state.save_steps % steps:
            raise UserError(
                f"save_steps: {state.save_steps} must be a multiple of {steps}: so many steps "
                "share a batch of rewrites (steps_per_generation x num_iterations / "
                "gradient_accumulation_steps), and checkpoints do not hold it."
            )


class _TooManyFailed(Exception):
    """Too many calls to target and judge failed."""


def _randomness() -> tuple[Any, ...]:
    """The states of all random generators, as checkpoints hold them."""
    # Without a GPU, there are no states of GPUs.
    cuda = torch.cuda.get_rng_state_all()
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda


def _set_randomness(states: tuple[Any, ...]) -> None:
    python, numpy, cpu, cuda = states
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(cpu)
    torch.cuda.set_rng_state_all(cuda)
