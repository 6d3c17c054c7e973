"""Tells a block of a defense from a refusal of the model."""

from typing import Final

from inspect_ai.model import ModelOutput

__all__ = ["BLOCKED", "REFUSAL_MESSAGE", "is_block"]

REFUSAL_MESSAGE: Final = "I'm sorry, but I can't help with this request."
"""What the user reads where a defense blocks a request or an answer."""

BLOCKED: Final = "blocked_by_defense"
"""The key in the metadata of an output that a defense wrote in the model's place as a refusal."""


def is_block(output: ModelOutput) -> bool:
    """Whether an output is a defense's fixed refusal and not the model's."""
    return bool((output.metadata or {}).get(BLOCKED))
