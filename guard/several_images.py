"""Asks a guard's model about several images, and says so if it takes fewer than it was shown.

Some models and servers take one image a request, or as many as they were started for (vLLM's
`--limit-mm-per-prompt`). Their refusal is an error of the API in words of their own. One that is
recognised is a failure of the guard, which follows `on_failure` and is counted; any other error
stays an error of the sample.
"""

import re
import time
from collections.abc import Sequence
from typing import Final

from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput, ModelUsage

from vlmguard.guard.messages import images_of
from vlmguard.guard.roles import put_question

__all__ = ["UNSUPPORTED", "TooManyImages", "generate_with_images"]

UNSUPPORTED: Final = "unsupported_images"
"""The failure in a defense's record."""

# "At most 1 image(s) may be provided", "only supports a single image per message", "too many
# images", "3 images, exceeding the maximum of 2", "multiple images are not supported".
_LIMIT: Final = re.compile(
    r"\b(?:at most|up to|(?:maximum|limit) of) \d+ images?\b"
    r"|\btoo many images\b"
    r"|\b(?:supports?|accepts?|takes?|allows?|handles?) (?:only )?(?:a single|one|1) images?\b"
    r"|\b\d+ images?[, ]+(?:exceed|but )"
    r"|\b(?:multiple|several|more than (?:one|\d+)) images?\b",
    re.IGNORECASE,
)


class TooManyImages(Exception):
    """A model that takes fewer images than it was shown.

    Args:
        output: Stands for its answer in records: no text, the error, no tokens, and the time.
    """

    def __init__(self, output: ModelOutput) -> None:
        super().__init__(f"{output.model} takes fewer images: {output.error}")
        self.output = output


async def generate_with_images(
    model: Model, messages: Sequence[ChatMessage], config: GenerateConfig
) -> ModelOutput:
    """Ask a model.

    Args:
        model: The model.
        messages: The conversation, with any number of images.
        config: Settings of the call.

    Raises:
        TooManyImages: The model refused several images because they are several.
    """
    start = time.monotonic()
    try:
        return await put_question(model, messages, config)
    except Exception as error:
        # Inspect's own error repeats the whole request, which may hold any words.
        said = str(error.__cause__ or error)
        if len(images_of(messages)) < 2 or _LIMIT.search(said) is None:
            raise
        output = ModelOutput(
            model=str(model),
            error=said,
            usage=ModelUsage(),
            time=time.monotonic() - start,
        )
        raise TooManyImages(output) from error
