"""MLLM-Protector's two auxiliary models: harm detector and response detoxifier.

Four checkpoint formats, one function each: a PEFT adapter with a classifier head
(`lora_classifier`) and the same merged (`merged_classifier`) for the detector; a PEFT adapter
(`lora_causal_lm`) and a merged causal LM (`merged_causal_lm`) for the detoxifier.
"""

import time
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from vlmguard.guard.aux_models.base import (
    Checkpoint,
    Reading,
    in_worker,
    load_complete,
    loading,
    place,
    split_revision,
)
from vlmguard.guard.aux_models.base import resolve_source as resolve
from vlmguard.guard.errors import UserError
from vlmguard.guard.text.control_tokens import without_controls

__all__ = [
    "check_detoxifier",
    "complete",
    "load_detoxifier",
    "prepare_detector",
    "probability_harmless",
]

_FREE_CONTEXT: Final = 1 << 30
"""Length if neither tokenizer nor configuration names one."""

_WRONG_BASE: Final = (
    "Name the right base with -S detector_base= or detoxifier_base=; a detector adapter must also "
    "hold its trained classifier head."
)


@dataclass(frozen=True)
class Rewritten:
    """The detoxifier's output.

    Attributes:
        text: Its continuation of the prompt; empty if the prompt fills the context.
        input_tokens: Tokens read.
        output_tokens: Tokens written.
        seconds: Time in the call.
        finished: Whether it reached its end and was not cut off.
    """

    text: str
    input_tokens: int
    output_tokens: int
    seconds: float
    finished: bool


async def prepare_detector(checkpoint: Checkpoint) -> None:
    """Load the detector, so that its faults show before any call is paid for.

    Raises:
        UserError: It cannot be loaded, or is not a classifier with one logit.
    """
    await in_worker(load_detector, checkpoint)


async def check_detoxifier(checkpoint: Checkpoint) -> None:
    """Check the detoxifier's configuration; its weights are loaded when they are needed.

    Raises:
        UserError: It cannot be found, or is an adapter of another kind of model.
    """
    await in_worker(_is_adapter, checkpoint, "CAUSAL_LM", "a detoxifier")


async def probability_harmless(checkpoint: Checkpoint, text: str) -> Reading:
    """Ask the harm detector.

    Args:
        checkpoint: The detector; loaded on first use.
        text: The text to judge. One that is longer than the model reads is read in pieces.

    Returns:
        One number from 0 (harmful) to 1 (harmless): the sigmoid of the logit, the lowest of all
        pieces; and a call for each piece.

    Raises:
        UserError: As for `prepare_detector`.
    """
    return await in_worker(_probability_harmless, checkpoint, text)


async def complete(checkpoint: Checkpoint, prompt: str, tokens: int) -> Rewritten:
    """Let the detoxifier continue a prompt, greedily.

    Args:
        checkpoint: The detoxifier; loaded on first use.
        prompt: Raw text, not a chat.
        tokens: The most new tokens (> 0).

    Returns:
        The continuation, stripped.

    Raises:
        UserError: It cannot be loaded, or is not a causal LM.
    """
    return await in_worker(_complete, checkpoint, prompt, tokens)


@cache
def load_detector(checkpoint: Checkpoint) -> tuple[Any, Any]:
    """Detector and tokenizer, from either of its two formats."""
    if _is_adapter(checkpoint, "SEQ_CLS", "a harm detector"):
        return lora_classifier(checkpoint)
    return merged_classifier(checkpoint)


@cache
def load_detoxifier(checkpoint: Checkpoint) -> tuple[Any, Any]:
    """Detoxifier and tokenizer, from either of its two formats."""
    if _is_adapter(checkpoint, "CAUSAL_LM", "a detoxifier"):
        return lora_causal_lm(checkpoint)
    return merged_causal_lm(checkpoint)


def lora_classifier(checkpoint: Checkpoint) -> tuple[Any, Any]:
    """Format 1: SEQ_CLS adapter, with its classifier head, on a causal base."""
    import transformers

    base, revision = _base(checkpoint)
    device, dtype = place(checkpoint.device)
    with loading(base):
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            base, revision=revision, num_labels=1, dtype=dtype
        )
    return _adapted(model, checkpoint).to(device), _tokenizer(checkpoint, base, revision)


def merged_classifier(checkpoint: Checkpoint) -> tuple[Any, Any]:
    """Format 2: a merged sequence classifier."""
    import transformers

    factory = transformers.AutoModelForSequenceClassification
    model, tokenizer = _merged(checkpoint, factory, "a harm classifier")
    if model.config.num_labels != 1:
        raise UserError(
            f"Checkpoint {checkpoint.name} is not MLLM-Protector's harm classifier: it has "
            f"{model.config.num_labels} labels, one logit is needed (sigmoid = P(harmless))."
        )
    return model, tokenizer


def lora_causal_lm(checkpoint: Checkpoint) -> tuple[Any, Any]:
    """Format 3: CAUSAL_LM adapter on its base."""
    import transformers

    base, revision = _base(checkpoint)
    device, dtype = place(checkpoint.device)
    factory = transformers.AutoModelForCausalLM
    model = load_complete(factory, base, "a causal LM", revision=revision, dtype=dtype)
    return _adapted(model, checkpoint).to(device), _tokenizer(checkpoint, base, revision)


def merged_causal_lm(checkpoint: Checkpoint) -> tuple[Any, Any]:
    """Format 4: a merged causal LM."""
    import transformers

    return _merged(checkpoint, transformers.AutoModelForCausalLM, "a causal LM")


def _merged(checkpoint: Checkpoint, factory: Any, purpose: str) -> tuple[Any, Any]:
    source, revision = checkpoint.source, checkpoint.revision
    device, dtype = place(checkpoint.device)
    model = load_complete(factory, source, purpose, revision=revision, dtype=dtype)
    return model.to(device), _tokenizer(checkpoint, source, revision)


def _probability_harmless(checkpoint: Checkpoint, text: str) -> Reading:
    import torch

    model, tokenizer = load_detector(checkpoint)
    start = time.monotonic()
    limit = min(tokenizer.model_max_length, _context_length(model))
    values: list[float] = []
    tokens = 0
    for piece in _pieces(without_controls(text, tokenizer), tokenizer, limit):
        ids = tokenizer(piece, return_tensors="pt")["input_ids"].to(model.device)
        if not ids.numel():
            # There is nothing to judge: an empty answer, and a tokenizer that adds no token.
            continue
        with torch.inference_mode():
            logit = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        values.append(logit.float().sigmoid().item())
        tokens += ids.numel()
    lowest = min(values, default=1.0)
    return Reading([lowest], len(values), tokens, 0, time.monotonic() - start)


def _pieces(text: str, tokenizer: Any, limit: int) -> list[str]:
    """A text in as many parts as it takes for each to fit, halved between words where it can be."""
    if len(text) < 2 or len(tokenizer(text)["input_ids"]) <= limit:
        return [text]
    half = len(text) // 2
    behind = text.find(" ", half)
    place = behind if 0 < behind < len(text) - 1 else half
    return [
        *_pieces(text[:place], tokenizer, limit),
        *_pieces(text[place:], tokenizer, limit),
    ]


def _complete(checkpoint: Checkpoint, prompt: str, tokens: int) -> Rewritten:
    import torch
    import transformers

    model, tokenizer = load_detoxifier(checkpoint)
    start = time.monotonic()
    prompt = without_controls(prompt, tokenizer)
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"].to(model.device)
    length = ids.shape[1]
    room = min(tokens, _context_length(model) - length)
    if room < 1:
        return Rewritten("", length, 0, time.monotonic() - start, finished=False)
    ends = model.generation_config.eos_token_id or tokenizer.eos_token_id
    config = transformers.GenerationConfig(
        do_sample=False,
        max_new_tokens=room,
        eos_token_id=ends,
        pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
    )
    with torch.inference_mode():
        output = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config
        )
    new = output[0, length:]
    text: str = tokenizer.decode(new, skip_special_tokens=True)
    finished = new[-1].item() in (ends if isinstance(ends, list) else [ends])
    seconds = time.monotonic() - start
    return Rewritten(text.strip(), length, new.numel(), seconds, finished)


def _is_adapter(checkpoint: Checkpoint, task: str, purpose: str) -> bool:
    """Whether this is a PEFT adapter; one for another task is refused."""
    import transformers
    from transformers.utils import find_adapter_config_file

    from vlmguard.guard.adapters import adapter_config

    source = checkpoint.source
    with loading(checkpoint.name):
        file = find_adapter_config_file(source, revision=checkpoint.revision)
        if file is None:
            # If it is not an adapter, it must at least have a configuration.
            transformers.PretrainedConfig.get_config_dict(source, revision=checkpoint.revision)
            return False
        found = adapter_config(_label(checkpoint), source, checkpoint.revision).task_type
    if found != task:
        raise UserError(
            f"Checkpoint {checkpoint.name} is not {purpose}: its adapter was trained for {found}, "
            f"{task} is needed (task_type in adapter_config.json)."
        )
    return True


def _base(checkpoint: Checkpoint) -> tuple[str, str | None]:
    """The adapter's base (folder or hub id) and its revision."""
    from vlmguard.guard.adapters import adapter_config

    if checkpoint.base is not None:
        name, revision = split_revision(checkpoint.base)
        return resolve(name), revision
    config = adapter_config(_label(checkpoint), checkpoint.source, checkpoint.revision)
    if not config.base_model_name_or_path:
        raise UserError(f"{_label(checkpoint)} names no base. Name it with -S ..._base=.")
    return resolve(config.base_model_name_or_path), config.revision


def _adapted(model: Any, checkpoint: Checkpoint) -> Any:
    """Put an adapter on its base; one that does not fit or lacks a trained part is refused."""
    import peft

    from vlmguard.guard.adapters import adapter_config, fitting, load_into

    label, source = _label(checkpoint), checkpoint.source
    options = checkpoint.options
    config = adapter_config(label, source, checkpoint.revision)
    config.inference_mode = True
    with fitting(label, config, model.name_or_path, _WRONG_BASE):
        wrapper = peft.get_peft_model(model, config)
        load_into(wrapper, source, "default", **options)
    return wrapper.eval()


def _label(checkpoint: Checkpoint) -> str:
    return f"Adapter {checkpoint.name}"


def _tokenizer(checkpoint: Checkpoint, base: str, revision: str | None) -> Any:
    """The tokenizer beside the weights, else the base's."""
    import transformers
    from transformers.utils import cached_file

    source = checkpoint.source
    with loading(checkpoint.name):
        own = cached_file(
            source,
            "tokenizer_config.json",
            revision=checkpoint.revision,
            _raise_exceptions_for_missing_entries=False,
        )
        if own is not None:
            return transformers.AutoTokenizer.from_pretrained(source, revision=checkpoint.revision)
        return transformers.AutoTokenizer.from_pretrained(base, revision=revision)


def _context_length(model: Any) -> int:
    return int(model.config.max_position_embeddings or _FREE_CONTEXT)
