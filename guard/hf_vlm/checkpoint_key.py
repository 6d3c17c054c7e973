"""Turns the user's model arguments into a key; equal keys share one set of weights."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Final

from vlmguard.guard.aux_models.base import resolve_source, split_revision
from vlmguard.guard.errors import UserError, check_choice, check_count
from vlmguard.guard.paths import model_path

DTYPES: Final = ("float32", "float16", "bfloat16")

DEVICES: Final = ("cpu", "cuda", "mps", "xpu", "hpu", "mtia", "xla", "meta")
"""Kinds of devices, as PyTorch names them. Its own check would need PyTorch."""


@dataclass(frozen=True)
class WeightsKey:
    """Which weights are loaded, and how; made by `weights_key`.

    Attributes:
        checkpoint: Absolute folder, or hub id.
        dtype: A key of `DTYPES`.
        device: `cpu`, `cuda:0`, ...; None if `device_map` decides.
        revision: Branch, tag or commit on the hub.
        device_map: `auto` and the like, or pairs of module and device.
        attn_implementation: `sdpa`, `eager`, `flash_attention_2`, ...; None for the default.
        load_in_4bit: Quantize with bitsandbytes.
        load_in_8bit: The same with 8 bits.
        trust_remote_code: Run code that comes with the checkpoint.
    """

    checkpoint: str
    dtype: str
    device: str | None
    revision: str | None = None
    device_map: str | tuple[tuple[str, str | int], ...] | None = None
    attn_implementation: str | None = None
    load_in_4bit: bool = False
    load_in_8bit: bool = False
    trust_remote_code: bool = False


@dataclass(frozen=True)
class PromptSettings:
    """How a checkpoint's processor makes prompts; made by `prompt_settings`.

    Attributes:
        min_pixels: Lower bound of the image size in pixels; None for the processor's own.
        max_pixels: Upper bound.
        chat_template_kwargs: Variables of the chat template, as JSON.
        processor_kwargs: Settings of the image processor, as JSON.
    """

    min_pixels: int | None = None
    max_pixels: int | None = None
    chat_template_kwargs: str = "{}"
    processor_kwargs: str = "{}"


_FLAGS: Final = ("load_in_4bit", "load_in_8bit", "trust_remote_code")

ARGUMENTS: Final = tuple(field.name for field in fields(WeightsKey) if field.name != "checkpoint")
"""Model arguments that `weights_key` takes."""


def cuda_devices_here() -> int:
    """How many CUDA devices this process has; imports PyTorch."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def weights_key(
    checkpoint: str,
    arguments: dict[str, Any],
    cuda_devices: Callable[[], int] = cuda_devices_here,
) -> WeightsKey:
    """Read a checkpoint's name and the model arguments as the user typed them.

    Args:
        checkpoint: Hub id (`HUB_ID@REVISION` for a revision) or folder.
        arguments: Some of `ARGUMENTS`. `dtype` and `device` may be `auto` (the default): CUDA if
            there is a device, bfloat16 on CUDA and float32 elsewhere. `device` may be a number,
            `device_map` a dictionary.
        cuda_devices: Says how many CUDA devices there are, where that matters.

    Returns:
        The key; two spellings of the same give equal keys.

    Raises:
        UserError: No such folder or device, a value of the wrong type, or two that exclude each
            other.
    """
    check_arguments(arguments)
    given = {name: value for name, value in arguments.items() if value is not None}
    source, revision = _source(checkpoint)
    if revision is not None and "revision" in given:
        raise UserError(f"-M revision and {checkpoint} both name a revision: give one of them.")
    if revision is None and "revision" in given:
        revision = str(given["revision"])  # YAML reads 1234567 as a number.
    device = _device_here(given.get("device", "auto"), cuda_devices)
    dtype = given.get("dtype", "auto")
    if dtype == "auto":
        dtype = "bfloat16" if device.startswith("cuda") else "float32"
    return WeightsKey(
        checkpoint=source,
        dtype=dtype,
        device=None if "device_map" in given else device,
        revision=revision,
        device_map=_device_map(given["device_map"]) if "device_map" in given else None,
        attn_implementation=given.get("attn_implementation"),
        **{name: given.get(name, False) for name in _FLAGS},
    )


def _source(typed: str) -> tuple[str, str | None]:
    """Absolute folder, or hub id with its revision if it names one."""
    folder = model_path(typed)
    if folder.is_dir():
        return str(folder), None
    try:
        name, revision = split_revision(typed)
        return resolve_source(name), revision
    except UserError as error:
        raise UserError(
            f"{error} An absolute path has two slashes: hf-vlm//{typed.lstrip('/')}."
        ) from error


def check_arguments(arguments: dict[str, Any]) -> None:
    """Check the arguments without a look at the files and devices of this machine.

    A log may be scored again on a machine that has neither the checkpoint nor the device of its
    target.

    Args:
        arguments: As for `weights_key`.

    Raises:
        UserError: A value of the wrong type, or two that exclude each other.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    for name in _FLAGS:
        _check_flag(name, given.get(name, False))
    if given.get("load_in_4bit") and given.get("load_in_8bit"):
        raise UserError("-M load_in_4bit and load_in_8bit exclude each other: give one of them.")
    if "device" in given and "device_map" in given:
        raise UserError("-M device and device_map exclude each other: give one of them.")
    check_choice("-M dtype", given.get("dtype", "auto"), ("auto", *DTYPES))
    attention = given.get("attn_implementation")
    if attention is not None and not isinstance(attention, str):
        raise UserError(f"-M attn_implementation={attention}: a name such as sdpa is needed.")
    if given.get("device", "auto") != "auto":
        _device(given["device"])
    if "device_map" in given:
        _device_map(given["device_map"])


def prompt_settings(
    min_pixels: int | None,
    max_pixels: int | None,
    chat_template_kwargs: dict[str, Any] | None,
    processor_kwargs: dict[str, Any] | None,
) -> PromptSettings:
    """Read the model arguments that decide how prompts are made.

    Args:
        min_pixels: Lower bound of the image size in pixels (>= 1).
        max_pixels: Upper bound.
        chat_template_kwargs: Variables of the chat template.
        processor_kwargs: Settings of the image processor.

    Returns:
        The settings; two spellings of the same are equal.

    Raises:
        UserError: A value of the wrong type.
    """
    for name, bound in (("min_pixels", min_pixels), ("max_pixels", max_pixels)):
        if bound is not None:
            check_count(f"-M {name}", bound, 1)
    return PromptSettings(
        min_pixels,
        max_pixels,
        _as_json("chat_template_kwargs", chat_template_kwargs or {}),
        _as_json("processor_kwargs", processor_kwargs or {}),
    )


def _as_json(name: str, value: object) -> str:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise UserError(
            f"-M {name}={value}: names with values are needed, "
            f"-M {name}='{{enable_thinking: false}}', say."
        )
    try:
        return json.dumps(value, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError(f"-M {name}={value}: {error}. Use numbers, texts, lists.") from error


def _check_flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise UserError(f"-M {name}={value}: true or false is needed.")


def _device(value: object) -> str:
    """A device as PyTorch writes it."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = f"cuda:{value}"
    kind = re.fullmatch(r"([a-z]+)(?::\d+)?", str(value))
    if kind is None or kind[1] not in DEVICES:
        raise UserError(f"-M device={value} is no device; cpu, cuda or cuda:1 is.")
    return str(value)


def _device_here(value: object, cuda_devices: Callable[[], int]) -> str:
    if value == "auto":
        return "cuda:0" if cuda_devices() else "cpu"
    kind, _, number = _device(value).partition(":")
    if kind != "cuda":
        return f"{kind}:{number}" if number else kind
    count, index = cuda_devices(), int(number or 0)
    if not count:
        name = f"cuda:{number}" if number else "cuda"
        raise UserError(f"-M device={name}: PyTorch sees no CUDA device here. Use device=cpu.")
    if index >= count:
        raise UserError(f"-M device=cuda:{index}: there are {count} CUDA devices.")
    return f"cuda:{index}"


def _device_map(value: object) -> str | tuple[tuple[str, str | int], ...]:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        pairs = [(str(module), place) for module, place in value.items()]
        if all(type(place) in (str, int) for _, place in pairs):
            return tuple(sorted(pairs))
    raise UserError(f"-M device_map={value}: auto, or modules with a device for each, is needed.")
