"""LoRA adapters with random weights, made on the spot."""

from pathlib import Path

import peft
import torch
import transformers


def make_adapter(
    base: Path,
    folder: Path,
    seed: int = 0,
    targets: tuple[str, ...] = ("q_proj", "v_proj", "down_proj"),
) -> Path:
    """A LoRA adapter with random weights in both halves, saved as PEFT and TRL save it."""
    model = transformers.AutoModelForImageTextToText.from_pretrained(base)
    config = peft.LoraConfig(r=4, lora_alpha=16, target_modules=list(targets))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tuned = peft.get_peft_model(model, config)
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.3)
    tuned.save_pretrained(folder)
    return folder
