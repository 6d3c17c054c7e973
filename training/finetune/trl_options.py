"""The arguments of TRL's own configuration: which there are, and our defaults for them.

Our defaults differ from TRL's as follows: there is no `max_length` (a cut among image tokens breaks
the forward pass), `bf16` follows the hardware, evaluation and saving happen once per epoch (`grpo`:
saving every 50 steps, no evaluation), and the learning rate follows method and peft.
"""

import dataclasses
from collections.abc import Iterable, Set
from typing import Any, Final

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.errors import UserError
from vlmguard.guard.paths import user_path
from vlmguard.training.finetune.config import TrainConfig

LEARNING_RATES: Final = {
    ("sft", "lora"): 1e-4,
    ("sft", "none"): 1e-5,
    ("grpo", "lora"): 1e-5,
    ("grpo", "none"): 1e-6,
}

# TRL would ignore these keys, or they would break the rewriter's chat layout.
_OURS: Final = {
    "model_init_kwargs": "model, revision, dtype and attn_implementation",
    "resume_from_checkpoint": "resume",
    "chat_template_path": "the checkpoint's own chat template",
    "hub_strategy": "push_to_hub, which uploads the finished result and nothing before it,",
    "hub_always_push": "push_to_hub, which uploads the finished result and nothing before it,",
}


def check_trl_keys(keys: Iterable[str], method: str, ours: Set[str]) -> None:
    """Refuse keys that TRL does not know, or that would have no effect.

    Args:
        keys: The keys of a configuration that are not ours.
        method: `sft` or `grpo`.
        ours: The keys of `TrainConfig`, to suggest one.

    Raises:
        UserError: Names the first such key and what to use instead; or TRL is not installed.
    """
    known = _trl_keys(method)
    for key in keys:
        if key not in known:
            raise UserError(_unknown(str(key), method, ours | known))


def trl_arguments(config: TrainConfig) -> Any:
    """TRL's configuration object: the user's arguments over our defaults.

    Returns:
        An `SFTConfig` or a `GRPOConfig`.

    Raises:
        UserError: TRL refuses the arguments.
    """
    import torch

    kind = _kind(config.method)
    accelerated = torch.accelerator.is_available()
    bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    values: dict[str, Any] = {
        "bf16": bf16 and not config.trainer.get("fp16"),
        "use_cpu": not accelerated,
        "learning_rate": LEARNING_RATES[config.method, config.peft],
        "save_total_limit": 2,
        "hub_strategy": "end",  # `hub.py` decides what is uploaded, and when
    }
    if config.method == "sft":
        values |= {"max_length": None, "eval_strategy": "epoch", "save_strategy": "epoch"}
    else:
        values |= {"save_strategy": "steps", "save_steps": 50}
    values |= config.trainer
    values |= {
        "output_dir": str(user_path(config.output_dir)),
        "trust_remote_code": config.trust_remote_code,
    }
    try:
        return kind(**values)
    except (ValueError, TypeError, ImportError) as error:
        raise UserError(f"TRL refuses the configuration: {error}") from error


def _trl_keys(method: str) -> set[str]:
    return {each.name for each in dataclasses.fields(_kind(method)) if each.init} - _OURS.keys()


def _kind(method: str) -> Any:
    try:
        import trl
    except ImportError as error:
        raise UserError("Training needs TRL: `pip install 'vlmguard[train]'`.") from error
    return trl.GRPOConfig if method == "grpo" else trl.SFTConfig


def _unknown(key: str, method: str, known: Set[str]) -> str:
    if key in _OURS:
        return f"{key} has no effect here; use {_OURS[key]} instead."
    other = "grpo" if method == "sft" else "sft"
    if key in _trl_keys(other):
        return f"{key} goes with method: {other}, not with {method}."
    meant = did_you_mean(key, known)
    return (
        f"unknown key {key}.{meant} Known are the keys of TrainConfig and of TRL's configuration."
    )
