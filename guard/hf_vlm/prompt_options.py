"""Checks model arguments for the chat template and the image processor when they load.

Templates ignore unknown variables, and processors unknown settings. Here an unknown name is an
error.
"""

import inspect
import re
from typing import Any, Final

from PIL import Image
from transformers import ProcessorMixin

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.errors import UserError

OF_OURS: Final = frozenset(
    {"messages", *inspect.signature(ProcessorMixin.apply_chat_template).parameters}
)
"""Variables that hf-vlm/ sets itself."""

BOUNDS: Final = ("min_pixels", "max_pixels")
FORM: Final = ("return_tensors", "device", "data_format", "input_data_format")
"""Settings of the tensors' form, on which batches rely."""


def check_template_kwargs(checkpoint: str, template: Any, given: dict[str, Any]) -> None:
    """Refuse variables that the chat template does not read.

    Args:
        checkpoint: Name of the checkpoint.
        template: Its chat template, or several templates by name.
        given: The variables.

    Raises:
        UserError: A variable that the template does not read, or that hf-vlm/ sets itself.
    """
    text = "\n".join(template.values()) if isinstance(template, dict) else str(template)
    for name in given:
        if name in OF_OURS:
            raise UserError(f"-M chat_template_kwargs: {name} is set by hf-vlm/. Leave it out.")
        if not re.search(rf"\b{re.escape(name)}\b", text):
            raise UserError(
                f"-M chat_template_kwargs: the chat template of {checkpoint} does not read {name}. "
                "Read the template (chat_template.jinja) for the names that it does."
            )


def call_kwargs(checkpoint: str, processor: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of each call of the processor.

    Args:
        checkpoint: Name of the checkpoint.
        processor: Its processor.
        given: Settings of its image processor.

    Returns:
        The arguments, which ask for `mm_token_type_ids` if the processor knows them.

    Raises:
        UserError: An unknown setting, one that has its own option, or a value that the processor
            refuses.
    """
    known = set(processor.valid_processor_kwargs.__annotations__["images_kwargs"].__annotations__)
    known |= set(processor.image_processor.valid_kwargs.__annotations__)
    known -= {*BOUNDS, *FORM}
    for name in given:
        if name in BOUNDS:
            raise UserError(f"-M processor_kwargs: use -M {name}={given[name]} itself.")
        if name not in known:
            raise UserError(
                f"-M processor_kwargs: the image processor of {checkpoint} has no {name}."
                f"{did_you_mean(name, known)} It has: {', '.join(sorted(known))}."
            )
    _try(checkpoint, processor.image_processor, given)
    names_types = "mm_token_type_ids" in processor.model_input_names
    return ({"return_mm_token_type_ids": True} if names_types else {}) | (
        {"images_kwargs": given} if given else {}
    )


def _try(checkpoint: str, image_processor: Any, given: dict[str, Any]) -> None:
    if not given:
        return
    try:
        image_processor(Image.new("RGB", (336, 224), "red"), return_tensors="pt", **given)
    except Exception as error:  # each processor has its own checks and errors
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"-M processor_kwargs={given}: the image processor of {checkpoint} refuses them "
            f"({reason}). Correct the values."
        ) from error
