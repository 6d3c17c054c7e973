"""Loads the checkpoint to train, freezes its other parts, and names its LoRA layers."""

from pathlib import Path
from typing import Any

import peft
import torch
import transformers

from vlmguard.guard.adapters import adapter_config, fitting, is_for, load_into
from vlmguard.guard.aux_models.base import loading
from vlmguard.guard.hf_vlm.processor import PromptMaker
from vlmguard.training.finetune.config import TrainConfig


def load_processor(config: TrainConfig) -> PromptMaker:
    """The checkpoint's processor, as the `hf-vlm/` model API loads it.

    TRL tokenizes without special tokens, inference with them. If the tokenizer adds a
    beginning-of-text token that the chat template lacks (LLaVA), it is added to the template, so
    that both see the same prompt.

    Returns:
        The prompt maker; its `processor` is for TRL.

    Raises:
        UserError: No such checkpoint, or one without a chat template.
    """
    options: dict[str, Any] = {"trust_remote_code": config.trust_remote_code}
    if config.revision:
        options["revision"] = config.revision
    maker = PromptMaker(config.model, options, config.min_pixels, config.max_pixels)
    tokenizer, bos = maker.tokenizer, maker.tokenizer.bos_token
    turn = [{"role": "user", "content": [{"type": "text", "text": "a"}]}]
    text = maker.processor.apply_chat_template(turn, tokenize=False)
    adds_bos = bos is not None and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    if adds_bos and not text.startswith(bos):
        maker.processor.chat_template = "{{ " + repr(bos) + " }}" + maker.processor.chat_template
    return maker


def load_model(config: TrainConfig, *, bf16: bool) -> Any:
    """The model, ready for the trainer.

    Args:
        config: The run.
        bf16: Whether the run computes in bfloat16.

    Returns:
        The model; a `PeftModel` if the run continues from an adapter. Parts that are not trained do
        not require gradients.

    Raises:
        UserError: No such checkpoint, or a broken one; not an adapter, or one for another base.
    """
    options: dict[str, Any] = {"trust_remote_code": config.trust_remote_code}
    if config.revision:
        options["revision"] = config.revision
    if config.attn_implementation:
        options["attn_implementation"] = config.attn_implementation
    with loading(config.model):
        model = transformers.AutoModelForImageTextToText.from_pretrained(
            config.model, dtype=_dtype(config, bf16), **options
        )
    if not config.train_vision:
        model.get_encoder(modality="image").requires_grad_(False)
    return with_adapter(model, config) if config.adapter else model


def lora_config(model: Any, config: TrainConfig) -> peft.LoraConfig:
    """LoRA on every linear layer of the language model, and on no other layer.

    The modules are found by a walk over the language model, since names like `q_proj` also occur in
    vision towers.

    Returns:
        The configuration for PEFT. It names complete module paths; PEFT shortens them if short
        names mean the same. It has neither biases nor other trained modules, which vLLM's loader
        refuses.
    """
    decoder = model.get_decoder()
    prefix = next(name for name, module in model.named_modules() if module is decoder)
    targets = [
        f"{prefix}.{name}"
        for name, module in decoder.named_modules()
        if isinstance(module, torch.nn.Linear)
    ]
    return peft.LoraConfig(
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )


def with_adapter(model: Any, config: TrainConfig) -> Any:
    """Put an existing adapter on the model, to train it further.

    Args:
        model: The bare model.
        config: The run; `adapter` is a folder or hub id.

    Returns:
        A `PeftModel` with the adapter trainable.

    Raises:
        UserError: Not an adapter, a broken one, or one for another base: another hub id, or other
            layers.
    """
    source = str(config.adapter)
    label, remedy = f"adapter={source}", "Set `model` to that base, or leave the adapter out."
    saved = adapter_config(label, source)
    saved.inference_mode = False
    with fitting(label, saved, config.model, remedy):
        # Compare hub ids, since checkpoints may differ only in values. Folders may be renamed, so
        # they are not compared.
        renamed = _is_folder(str(saved.base_model_name_or_path)) or _is_folder(config.model)
        if not is_for(label, saved, config.model) and not renamed:
            raise ValueError("another checkpoint")
        wrapped = peft.PeftModel(model, saved, autocast_adapter_dtype=True)
        load_into(wrapped, source, "default", is_trainable=True)
    return wrapped


def _is_folder(checkpoint: str) -> bool:
    return checkpoint.startswith(("/", ".", "~")) or Path(checkpoint).is_dir()


def _dtype(config: TrainConfig, bf16: bool) -> torch.dtype:
    # Weights in training need float32, since bfloat16 loses small updates.
    automatic = "bfloat16" if bf16 and config.peft == "lora" else "float32"
    return {
        "float32": torch.float32,
        "float16": torch.float16,
        "bfloat16": torch.bfloat16,
    }[automatic if config.dtype == "auto" else config.dtype]
