"""The model behind a carrier, as a defense asks it: by the carrier's own client."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from inspect_ai.model import (
    ChatMessage,
    GenerateConfig,
    Model,
    ModelAPI,
    ModelOutput,
    messages_to_openai,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from vlmguard.guard.serving.dialects.chat import CHAT, SETTINGS

__all__ = ["Complete", "model_behind"]

Complete = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""Answers the body of a chat completion with the body of its answer."""


def model_behind(name: str, complete: Complete, settings: Mapping[str, Any] | None = None) -> Model:
    """A model that is asked by its carrier.

    Args:
        name: Its name in requests.
        complete: Asks it.
        settings: Fields of the product's request, from which its settings are read.
    """
    given = settings or {}
    known = {inspect: given[field] for inspect, field in SETTINGS.items() if given.get(field)}
    # A carrier's request is one of many answers or of none: a defense's question has one.
    known.pop("num_choices", None)
    return Model(_carrier(name, complete), GenerateConfig(**known))


class _Behind(ModelAPI):
    def __init__(self, name: str, complete: Complete) -> None:
        super().__init__(name)
        self._complete = complete

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        wanted = config.model_dump(exclude_none=True)
        settings = {field: wanted[name] for name, field in SETTINGS.items() if name in wanted}
        messages = await messages_to_openai(input)
        return CHAT.output(
            await self._complete({"model": self.model_name, "messages": messages, **settings})
        )


# Inspect asks registered APIs alone, and what it registers makes any `ModelAPI` for a type checker.
_carrier = cast("Callable[[str, Complete], ModelAPI]", modelapi(name="carrier")(_Behind))
