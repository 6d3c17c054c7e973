"""Loads weights, shared by all users of the same checkpoint with the same options.

Inspect builds a new model for every role. Target and rewriter on one base, with or without PEFT
adapters, still share one set of weights here: adapters are loaded beside the base under their own
names and are switched from batch to batch.
"""

import importlib.util
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import peft
import torch
import transformers

from vlmguard.guard.adapters import adapter_config, fitting, is_for, load_into
from vlmguard.guard.aux_models.base import load_complete
from vlmguard.guard.errors import UserError
from vlmguard.guard.hf_vlm.batch import Sharing
from vlmguard.guard.hf_vlm.checkpoint_key import PromptSettings, WeightsKey
from vlmguard.guard.hf_vlm.first_request import first_request
from vlmguard.guard.hf_vlm.processor import PromptMaker

logger = logging.getLogger(__name__)

_DTYPES: Final = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}

_FREE_CONTEXT = 1 << 30
"""Context length if the configuration does not name one."""


class Weights:
    """A model, its adapters and its processors.

    `load` or `add_adapter` loads the model, so that quick checks (the processor, whether an adapter
    fits) come first.

    Args:
        key: What to load.

    Attributes:
        model: The model; None until it is loaded.
        context_length: Tokens that prompt and answer may have together, once it is loaded.
        sharing: What rows may share, once `try_out` has found out.
    """

    def __init__(self, key: WeightsKey) -> None:
        self.key = key
        self._hub = {"revision": key.revision} if key.revision else {}
        self._options = self._hub | {"trust_remote_code": key.trust_remote_code}
        self._makers: dict[PromptSettings, PromptMaker] = {}
        self._peft: peft.PeftModel | None = None
        self._adapters: dict[str, str] = {}
        self.lock = threading.RLock()  # held while generating and while adapters are added
        self.model: Any = None
        self.context_length = _FREE_CONTEXT
        self.sharing = Sharing()
        self._tried = False

    @property
    def ready(self) -> bool:
        """Whether the model is loaded and has answered a first request."""
        return self._tried

    def load(self) -> None:
        """Load the model if it is not loaded.

        Raises:
            UserError: No such checkpoint, it lacks weights, or an option does not work here.
        """
        if self.model is not None:
            return  # without the lock, which a running batch holds
        with self.lock:
            if self.model is None:
                model = _load_model(self.key, self._options)
                self.context_length = _context_length(model.config.get_text_config())
                self.model = model

    def try_out(self, maker: PromptMaker) -> None:
        """Send a first request to the loaded model, once.

        Raises:
            UserError: The model cannot chat.
        """
        if self._tried:
            return  # without the lock, as in `load`
        with self.lock:
            if not self._tried:
                with self.use(None) as model:
                    self.sharing = first_request(model, maker, self.key.checkpoint)
                self._tried = True

    def prompt_maker(self, settings: PromptSettings) -> PromptMaker:
        """The processor with these settings, loaded once.

        Raises:
            UserError: No such checkpoint, no chat template, or unknown settings.
        """
        if settings not in self._makers:
            self._makers[settings] = PromptMaker(
                self.key.checkpoint,
                self._options,
                settings.min_pixels,
                settings.max_pixels,
                json.loads(settings.chat_template_kwargs),
                json.loads(settings.processor_kwargs),
            )
        return self._makers[settings]

    def check_adapter(self, source: str) -> None:
        """Check that a PEFT adapter fits the base, on a copy without weights.

        This waits neither for the weights nor for a running batch.

        Args:
            source: Hub id or folder of the adapter.

        Raises:
            UserError: Not an adapter, one of an unsuitable kind, or one for another base.
        """
        label = f"-M adapter={source}"
        config = _sharing_config(label, source)
        is_for(label, config, self.key.checkpoint)
        model_config = transformers.AutoConfig.from_pretrained(self.key.checkpoint, **self._options)
        with torch.device("meta"):
            skeleton = transformers.AutoModelForImageTextToText.from_config(
                model_config, trust_remote_code=self.key.trust_remote_code
            )
        with fitting(label, config, self.key.checkpoint, "Name that base as the model."):
            # Not with PEFT's low_cpu_mem_usage: meanwhile, models that other threads build would
            # have no weights either.
            with torch.device("meta"):
                wrapper = peft.PeftModel(skeleton, config, adapter_name="check")
            load_into(wrapper, source, "check", torch_device="cpu", low_cpu_mem_usage=True)

    def add_adapter(self, source: str) -> str:
        """Load a PEFT adapter beside the base; the base's own answers stay as they are.

        Args:
            source: Hub id or folder of an adapter that `check_adapter` accepted.

        Returns:
            The adapter's name, for `use`.
        """
        with self.lock:
            if source not in self._adapters:
                self.load()
                name = f"adapter{len(self._adapters)}"
                self._load_adapter(source, name)
                self._adapters[source] = name
            return self._adapters[source]

    @contextmanager
    def use(self, adapter: str | None) -> Iterator[Any]:
        """The model with this adapter (None: the base alone), locked for other threads."""
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
        wrapper: Any = self._peft
        loaded = False
        try:
            if wrapper is None:
                wrapper = peft.PeftModel(
                    self.model,
                    adapter_config(f"-M adapter={source}", source),
                    adapter_name=name,
                    autocast_adapter_dtype=False,
                )
            load_into(wrapper, source, name, is_trainable=False, autocast_adapter_dtype=False)
            wrapper.eval()
            loaded = True
        finally:
            if not loaded and wrapper is not None:
                if self._peft is None:
                    wrapper.unload()  # restores the base's own layers
                elif name in wrapper.peft_config:
                    wrapper.delete_adapter(name)
        self._peft = wrapper


def _sharing_config(label: str, source: str) -> Any:
    """The configuration of an adapter that can share a base with others."""
    config = adapter_config(label, source)
    if config.is_prompt_learning:
        raise UserError(f"{label}: {config.peft_type} adapters are not supported.")
    bias = config.to_dict().get("bias", "none")
    if bias != "none":
        raise UserError(
            f"{label} was trained with bias={bias!r}: it would change the biases of "
            "the base, which other roles share. Merge it into the base (merge_and_unload of PEFT) "
            "and name the result as the model."
        )
    return config


def _load_model(key: WeightsKey, options: dict[str, Any]) -> Any:
    quantized = key.load_in_4bit or key.load_in_8bit
    if quantized and not importlib.util.find_spec("bitsandbytes"):
        raise UserError("-M load_in_4bit and load_in_8bit need `pip install bitsandbytes`.")
    arguments = dict(options)
    arguments["dtype"] = _DTYPES[key.dtype]
    if key.attn_implementation:
        arguments["attn_implementation"] = key.attn_implementation
    if quantized:
        arguments["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=key.load_in_4bit,
            load_in_8bit=key.load_in_8bit,
            bnb_4bit_compute_dtype=arguments["dtype"],
        )
    if isinstance(key.device_map, tuple):
        arguments["device_map"] = dict(key.device_map)
    elif key.device_map is not None:
        arguments["device_map"] = key.device_map
    elif key.device != "cpu" or quantized:
        arguments["device_map"] = {"": key.device}  # not through the host's memory
    try:
        return load_complete(
            transformers.AutoModelForImageTextToText,
            key.checkpoint,
            "a complete vision-language model",
            **arguments,
        )
    except ImportError as error:  # a missing package for this architecture or attention
        raise UserError(f"Checkpoint {key.checkpoint} cannot be loaded: {error}") from error
    except UserError as error:
        if isinstance(error.__cause__, torch.OutOfMemoryError):
            raise UserError(
                f"Checkpoint {key.checkpoint} does not fit into the memory of "
                f"{key.device or 'the devices'}: use a smaller -M dtype, load_in_4bit=true, or "
                "device_map=auto."
            ) from error
        raise


def _context_length(text_config: Any) -> int:
    try:
        length = text_config.max_position_embeddings
    except AttributeError:  # relative positions, such as T5's
        return _FREE_CONTEXT
    return length or _FREE_CONTEXT
