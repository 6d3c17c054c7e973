"""PEFT adapters: their configuration and whether they fit a model, with a message for each fault.

Imports PEFT, and with it PyTorch: import this only where a model is loaded.
"""

import logging
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peft
from safetensors import SafetensorError

from vlmguard.guard.aux_models.base import pickled
from vlmguard.guard.errors import UserError

__all__ = ["adapter_config", "fitting", "is_for", "load_into", "unmatched"]

logger = logging.getLogger(__name__)


def adapter_config(label: str, source: str, revision: str | None = None) -> Any:
    """Read an adapter's configuration.

    Args:
        label: The adapter's name in messages, e.g. `-M adapter=out/lora`.
        source: Its folder or hub id.
        revision: Branch, tag or commit on the hub.

    Returns:
        The `PeftConfig` of its kind.

    Raises:
        UserError: There is no adapter.
    """
    try:
        return peft.PeftConfig.from_pretrained(source, revision=revision)
    except (ValueError, OSError) as error:
        raise UserError(
            f"{label}: no PEFT adapter there (a folder or hub repository with "
            f"adapter_config.json is needed). {error}"
        ) from error


def is_for(label: str, config: Any, model: str) -> bool:
    """Whether an adapter names this model as its base; logs a warning if not.

    Args:
        label: The adapter's name in the warning.
        config: Its configuration.
        model: Folder or hub id. Only the last part counts, as folders are moved.
    """
    base = str(config.base_model_name_or_path)
    same = Path(base).name == Path(model).name
    if not same:
        logger.warning("%s was made for %s, not for %s.", label, base, model)
    return same


@contextmanager
def fitting(label: str, config: Any, model: str, remedy: str) -> Iterator[None]:
    """Turn PEFT's errors in this block into a message: the adapter is broken, or for another model.

    Args:
        label: The adapter's name in messages.
        config: Its configuration, which names its base.
        model: Folder or hub id of the model.
        remedy: What to do if it does not fit; a sentence.

    Raises:
        UserError: PEFT failed in the block.
    """
    base = config.base_model_name_or_path  # before `get_peft_model` overwrites it
    try:
        yield
    except pickle.UnpicklingError as error:
        raise UserError(pickled(label)) from error
    except SafetensorError as error:
        raise UserError(
            f"{label}: its adapter_model.safetensors is broken, cut short perhaps ({error}). Copy "
            "or download it again."
        ) from error
    except (RuntimeError, ValueError, KeyError) as error:
        raise UserError(
            f"{label} does not fit {model}: it was made for {base}. {remedy} ({str(error)[:300]})"
        ) from error


def load_into(wrapper: Any, source: str, name: str, **options: Any) -> None:
    """Load an adapter's weights; call it within `fitting`.

    Args:
        wrapper: The `PeftModel`.
        source: The adapter's folder or hub id.
        name: Its name in the wrapper.
        **options: For PEFT's `load_adapter`.

    Raises:
        ValueError: Tensors of the adapter have no place in the model, or places stay empty. PEFT
            itself only warns.
    """
    if keys := unmatched(wrapper.load_adapter(source, adapter_name=name, **options), name):
        raise ValueError(f"{len(keys)} tensors without a counterpart, the first is {keys[0]}")


def unmatched(result: Any, name: str) -> list[str]:
    """Tensors without a counterpart, from what PEFT's `load_adapter` returned for this name."""
    # PEFT lists the model's own weights as missing too, which are not in an adapter.
    missing = [key for key in result.missing_keys if f".{name}." in key]
    return [*result.unexpected_keys, *missing]
