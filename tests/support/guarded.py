"""Guarded models around scripted ones, in this process."""

from typing import Any

from inspect_ai.model import Model, get_model
from support.scripted import Scripted


def guarded_model(defense: str, target: Scripted, **options: Any) -> Model:
    """The model `guarded/DEFENSE/PROVIDER/NAME`, with the defense's options."""
    return get_model(
        f"guarded/{defense}/{target.provider}/{target.name}",
        memoize=False,
        model_args={"custom_outputs": target.reply},
        **options,
    )
