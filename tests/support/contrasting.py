"""The provider `contrasting/`: scripted models that take a contrast and check it."""

from typing import Any

from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput, modelapi
from inspect_ai.tool import ToolChoice, ToolInfo

from vlmguard.guard.contrast import Contrast
from vlmguard.guard.roles import ContrastsLogits


@modelapi(name="contrasting")
class Contrasting(ModelAPI, ContrastsLogits):
    """As Inspect's mock model with a function in `custom_outputs`."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        *,
        custom_outputs: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        self._reply = custom_outputs

    async def check_contrast(self) -> None:
        """It can."""

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        if (contrast := Contrast.of(config)) is not None:
            contrast.left_out(input)
        output: ModelOutput = self._reply(input, tools, tool_choice, config)
        return output
