"""Reward model: how good an answer is (for ETA's check of answers and its choice of sentences).

Made for `RLHFlow/ArmoRM-Llama3-8B-v0.1`, whose own code puts the reward into `output.score`. For a
plain sequence classifier with one logit, the logit is the reward.
"""

import time
from functools import cache
from typing import Any, Final

from vlmguard.guard.aux_models.base import (
    Checkpoint,
    Reading,
    in_worker,
    load_complete,
    loading,
    place,
)
from vlmguard.guard.errors import UserError
from vlmguard.guard.text.control_tokens import without_controls

__all__ = ["ARMORM", "prepare_reward", "rewards"]

ARMORM: Final = "RLHFlow/ArmoRM-Llama3-8B-v0.1"
MAX_LENGTH: Final = 4096
_TASK: Final = "AutoModelForSequenceClassification"


async def prepare_reward(checkpoint: Checkpoint) -> None:
    """Load the model, so that its faults show before any call is paid for.

    Raises:
        UserError: As for `rewards`.
    """
    if checkpoint.name == ARMORM and not checkpoint.trust_remote_code:
        raise _no_consent(checkpoint)  # at once, without a request to the hub
    await in_worker(_load, checkpoint)


async def rewards(checkpoint: Checkpoint, prompt: str, answers: list[str]) -> Reading:
    """Score answers to one prompt.

    Args:
        checkpoint: The reward model; loaded on first use.
        prompt: User turn of the chat that is scored.
        answers: One assistant turn or more, each scored separately; 4,096 tokens are read of prompt
            and answer together, and `cut` counts longer ones.

    Returns:
        A reward for each answer. ArmoRM's lie around 0 to 0.2.

    Raises:
        UserError: The checkpoint cannot be loaded, needs its own code without the user's consent,
            or does not give a single score.
    """
    return await in_worker(_rewards, checkpoint, prompt, answers)


def _rewards(checkpoint: Checkpoint, prompt: str, answers: list[str]) -> Reading:
    import torch

    model, tokenizer = _load(checkpoint)
    start = time.monotonic()
    values: list[float] = []
    tokens = cut = 0
    for answer in answers:
        turns = (("user", prompt), ("assistant", answer))
        chat = [
            {"role": role, "content": without_controls(text, tokenizer)} for role, text in turns
        ]
        inputs = tokenizer.apply_chat_template(
            chat, truncation=True, max_length=MAX_LENGTH, return_tensors="pt", return_dict=True
        ).to(model.device)
        whole = tokenizer.apply_chat_template(chat, return_dict=True)["input_ids"]
        cut += len(whole) > MAX_LENGTH
        with torch.inference_mode():
            output = model(inputs["input_ids"])
        score = output["score"] if "score" in output else output["logits"]
        if score.numel() != 1:
            raise UserError(
                f"Reward model {checkpoint.name} gives {score.numel()} figures an answer; one is "
                "needed (a sequence classifier with one label)."
            )
        values.append(score.float().item())
        tokens += inputs["input_ids"].numel()
    return Reading(values, len(answers), tokens, 0, time.monotonic() - start, cut)


@cache
def _load(checkpoint: Checkpoint) -> tuple[Any, Any]:
    import transformers
    from transformers.models.llama import modeling_llama

    source = checkpoint.source
    options = {"revision": checkpoint.revision, "trust_remote_code": checkpoint.trust_remote_code}
    with loading(checkpoint.name):
        config, _ = transformers.PretrainedConfig.get_config_dict(
            source, revision=checkpoint.revision
        )
        # Without consent, transformers would use its own Llama classifier instead, with a random
        # head.
        if _TASK in config.get("auto_map", {}):
            if not checkpoint.trust_remote_code:
                raise _no_consent(checkpoint)
            # ArmoRM's code imports this name, which transformers has since removed.
            modeling_llama.__dict__.setdefault("LLAMA_INPUTS_DOCSTRING", "")
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, **options)
    if not tokenizer.chat_template:
        raise UserError(f"Reward model {checkpoint.name}: its tokenizer has no chat template.")
    device, dtype = place(checkpoint.device)
    model = load_complete(
        transformers.AutoModelForSequenceClassification,
        source,
        "a reward model",
        dtype=dtype,
        **options,
    )
    return model.to(device), tokenizer


def _no_consent(checkpoint: Checkpoint) -> UserError:
    return UserError(
        f"Reward model {checkpoint.name} runs Python code that comes with the checkpoint. Read it, "
        "then consent with -S trust_remote_code=true (and pin it with -S reward=NAME@COMMIT), "
        "or bind another judge of answers with --model-role reward=MODEL (approximate)."
    )
