"""LoRA adapters with random weights for the tiny checkpoints, and answers that distinguish them."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import peft
import torch
import transformers
from inspect_ai.model import ChatMessage, GenerateConfig, Model

CONFIG = GenerateConfig(max_tokens=8)


def make_adapter(
    base: Path,
    folder: Path,
    seed: int = 0,
    targets: tuple[str, ...] = ("q_proj", "v_proj", "down_proj"),
    bias: str = "none",
) -> Path:
    """A LoRA adapter with random weights in both halves, saved as PEFT and TRL save it.

    Args:
        base: Folder of the checkpoint that it is for.
        folder: Where to write it.
        seed: Another seed gives another adapter.
        targets: Names of the layers that it changes.
        bias: `none`, `all` or `lora_only`, as in `LoraConfig`.

    Returns:
        The folder.
    """
    model = transformers.AutoModelForImageTextToText.from_pretrained(base)
    config = peft.LoraConfig(r=4, lora_alpha=16, target_modules=list(targets), bias=bias)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tuned = peft.get_peft_model(model, config)
        for name, parameter in tuned.named_parameters():
            if "lora_" in name or (parameter.requires_grad and "bias" in name):
                torch.nn.init.normal_(parameter, std=0.3)
    tuned.save_pretrained(folder)
    return folder


async def answers(
    model: Model, ask: Callable[..., list[ChatMessage]], seeds: Iterable[int] = range(3)
) -> list[str]:
    """Eight greedy tokens about each of several pictures, asked at once.

    Args:
        model: The model.
        ask: The fixture that builds a conversation.
        seeds: The pictures.

    Returns:
        The answers.
    """
    outputs = await asyncio.gather(
        *(model.generate(ask(images=[seed]), config=CONFIG) for seed in seeds)
    )
    return [output.completion for output in outputs]
