"""The fixed refusal of a request that a defense blocks."""

from typing import Final

from inspect_ai.model import ModelOutput

__all__ = ["BLOCKED", "REFUSAL_MESSAGE", "is_block", "refusal"]

REFUSAL_MESSAGE: Final = "I'm sorry, but I can't help with this request."

BLOCKED: Final = "blocked_by_defense"
"""The key in an output's metadata that tells a block from a refusal of the model."""


def refusal(model: str) -> ModelOutput:
    """Our fixed refusal, as if the model had said it, and marked as ours.

    Args:
        model: Name of the model.
    """
    output = ModelOutput.from_content(model, REFUSAL_MESSAGE)
    return output.model_copy(update={"metadata": {BLOCKED: True}})


def is_block(output: ModelOutput) -> bool:
    """Whether an output is our fixed refusal and not the model's."""
    return bool((output.metadata or {}).get(BLOCKED))
