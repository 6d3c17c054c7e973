"""Weights, shared by everybody in the process who asks for the same checkpoint in the same way.

Inspect builds a model for every role anew. Target and rewriter on one base, with or without PEFT
adapters, still have one set of weights here: adapters lie beside the base under names of their
own and are switched from batch to batch.
"""

import importlib.util
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
import transformers

from vlmguard.errors import UserError, check_choice
from vlmguard.hf_vlm.processor import PromptMaker

logger = logging.getLogger(__name__)

_DTYPES = ("auto", "float32", "float16", "bfloat16")
_FREE_CONTEXT = 1 << 30
"""Context length where the configuration names none."""


@dataclass(frozen=True)
class WeightsKey:
    """What decides which weights are loaded, and how.

    Attributes:
        checkpoint: Hub id or folder.
        revision: Branch, tag or commit on the hub.
        dtype: `auto` is bfloat16 on CUDA and float32 elsewhere.
        device: `auto` is CUDA where there is one, else the CPU.
        device_map: Passed on (`auto` spreads over several GPUs); then `device` is not used.
        attn_implementation: `sdpa`, `eager`, `flash_attention_2`, ...; None for the default.
        load_in_4bit: Quantize with bitsandbytes.
        load_in_8bit: The same with 8 bits.
        trust_remote_code: Run code that comes with the checkpoint.
    """

    checkpoint: str
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    device_map: str | None = None
    attn_implementation: str | None = None
    load_in_4bit: bool = False
    load_in_8bit: bool = False
    trust_remote_code: bool = False


class Weights:
    """A model, its adapters and its processors.

    Args:
        key: What to load.

    Raises:
        UserError: An option that does not exist or does not work here.
        OSError: No such checkpoint.
    """

    def __init__(self, key: WeightsKey) -> None:
        self.key = key
        self._hub = {"revision": key.revision} if key.revision else {}
        self._options = self._hub | {"trust_remote_code": key.trust_remote_code}
        self._makers: dict[tuple[int | None, int | None], PromptMaker] = {}
        self._peft: peft.PeftModel | None = None
        self._adapters: dict[str, str] = {}
        self.lock = threading.RLock()  # held while generating and while adapters are added
        self.model = _load_model(key, self._options)
        text_config = self.model.config.get_text_config()
        self.context_length: int = text_config.max_position_embeddings or _FREE_CONTEXT

    def prompt_maker(self, min_pixels: int | None, max_pixels: int | None) -> PromptMaker:
        """The processor with these pixel bounds, loaded once."""
        bounds = (min_pixels, max_pixels)
        if bounds not in self._makers:
            self._makers[bounds] = PromptMaker(self.key.checkpoint, self._options, *bounds)
        return self._makers[bounds]

    def add_adapter(self, source: str) -> str:
        """Load a PEFT adapter beside the base; the base's own answers stay as they are.

        Args:
            source: Hub id or folder of the adapter.

        Returns:
            The adapter's name, for `use`.

        Raises:
            UserError: No adapter there, of an unsuitable kind, or made for another base.
        """
        with self.lock:
            if source not in self._adapters:
                name = f"adapter{len(self._adapters)}"
                self._load_adapter(source, name)
                self._adapters[source] = name
            return self._adapters[source]

    @contextmanager
    def use(self, adapter: str | None) -> Iterator[Any]:
        """The model with this adapter (None: the bare base), for nobody else meanwhile."""
        with self.lock:
            if self._peft is None:
                yield self.model
            elif adapter is None:
                with self._peft.disable_adapter():
                    yield self.model
            else:
                if self._peft.active_adapter != adapter:
                    self._peft.set_adapter(adapter)
                yield self.model

    def _load_adapter(self, source: str, name: str) -> None:
        try:
            config = peft.PeftConfig.from_pretrained(source)
        except (ValueError, OSError) as error:
            raise UserError(
                f"-M adapter={source}: no PEFT adapter there (a folder or hub repository with "
                f"adapter_config.json is needed). {error}"
            ) from error
        if config.is_prompt_learning:
            raise UserError(f"-M adapter={source}: {config.peft_type} adapters are not supported.")
        base = str(config.base_model_name_or_path)
        if Path(base).name != Path(self.key.checkpoint).name:
            logger.warning(
                "Adapter %s was made for %s, not for %s.", source, base, self.key.checkpoint
            )
        plain = {"is_trainable": False, "autocast_adapter_dtype": False}
        wrapper = self._peft
        try:
            if wrapper is None:
                wrapper = peft.PeftModel(
                    self.model, config, adapter_name=name, autocast_adapter_dtype=False
                )
            result = wrapper.load_adapter(source, adapter_name=name, **plain)
            _check_fit(wrapper, name, result)
        except (RuntimeError, ValueError, KeyError) as error:
            if wrapper is not None and self._peft is None:
                wrapper.unload()  # puts the base's own layers back
            elif wrapper is not None and name in wrapper.peft_config:
                wrapper.delete_adapter(name)
            raise UserError(
                f"-M adapter={source} does not fit {self.key.checkpoint}: it was made for {base}. "
                f"Name that base as the model. ({str(error)[:300]})"
            ) from error
        wrapper.eval()
        self._peft = wrapper


def _check_fit(wrapper: Any, name: str, result: Any) -> None:
    """Refuse an adapter of which some tensors have no place, or that leaves places empty."""
    missing = [key for key in result.missing_keys if f".{name}." in key]
    if result.unexpected_keys or missing:
        keys = [*result.unexpected_keys, *missing]
        raise ValueError(f"{len(keys)} tensors without a counterpart, the first is {keys[0]}")


def _load_model(key: WeightsKey, options: dict[str, Any]) -> Any:
    check_choice("-M dtype", key.dtype, _DTYPES)
    if (key.load_in_4bit or key.load_in_8bit) and not importlib.util.find_spec("bitsandbytes"):
        raise UserError("-M load_in_4bit and load_in_8bit need `pip install bitsandbytes`.")
    device = _device(key.device)
    arguments = dict(options)
    arguments["dtype"] = _dtype(key.dtype, device)
    if key.attn_implementation:
        arguments["attn_implementation"] = key.attn_implementation
    if key.load_in_4bit or key.load_in_8bit:
        arguments["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=key.load_in_4bit,
            load_in_8bit=key.load_in_8bit,
            bnb_4bit_compute_dtype=arguments["dtype"],
        )
        arguments["device_map"] = key.device_map or {"": device}
    elif key.device_map:
        arguments["device_map"] = key.device_map
    model = transformers.AutoModelForImageTextToText.from_pretrained(key.checkpoint, **arguments)
    if "device_map" not in arguments:
        model.to(device)
    return model.eval()


def _device(name: str) -> str:
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def _dtype(name: str, device: str) -> torch.dtype:
    if name == "auto":
        name = "bfloat16" if device.startswith("cuda") else "float32"
    return {
        "float32": torch.float32,
        "float16": torch.float16,
        "bfloat16": torch.bfloat16,
    }[name]
