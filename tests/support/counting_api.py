"""Providers that note each call, for runs through the whole of `vlmguard run`."""

from collections.abc import Callable
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    modelapi,
)

Reply = Callable[[str, list[ChatMessage]], str]
"""What a model says, from its name and the conversation."""


def counting_api(name: str, reply: str | Reply) -> list[str]:
    """Register the provider `NAME/...`, whose models give one reply, or what a function says.

    Returns:
        The models that were called so far, call by call; clear it before a test.
    """
    calls: list[str] = []

    @modelapi(name=name)
    class Counting(ModelAPI):
        def __init__(
            self,
            model_name: str,
            base_url: str | None = None,
            api_key: str | None = None,
            config: GenerateConfig | None = None,
            **_: Any,
        ) -> None:
            super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())

        async def generate(self, input: list[ChatMessage], *_: Any, **__: Any) -> ModelOutput:
            calls.append(self.model_name)
            said = reply if isinstance(reply, str) else reply(self.model_name, input)
            output = ModelOutput.from_content(self.model_name, said)
            output.usage = ModelUsage(input_tokens=2, output_tokens=1, total_tokens=3)
            return output

    return calls
