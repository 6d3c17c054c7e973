"""The fixed refusal of a request that a defense blocks."""

from inspect_ai.model import ModelOutput

from vlmguard.guard.text.blocks import BLOCKED, REFUSAL_MESSAGE, is_block

__all__ = ["BLOCKED", "REFUSAL_MESSAGE", "is_block", "refusal"]


def refusal(model: str) -> ModelOutput:
    """Our fixed refusal, as if the model had said it, and marked as ours.

    Args:
        model: Name of the model.
    """
    output = ModelOutput.from_content(model, REFUSAL_MESSAGE)
    return output.model_copy(update={"metadata": {BLOCKED: True}})
