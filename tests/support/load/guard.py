"""`vlmguard` with a rewriter that takes no time: `--rewriter instant/any`.

python tests/support/load/guard.py serve --rewriter instant/any ...
"""

import sys
import zlib
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    modelapi,
)

from vlmguard.cli import main

REWRITTEN = "Describe the safe way to do what this picture shows."
KEEPS = 2
"""One of so many requests stays as it is, by its digest."""


@modelapi(name="instant")
class Instant(ModelAPI):
    """Rewrites requests, or says that they stay, without looking at them."""

    async def generate(
        self, input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig
    ) -> ModelOutput:
        keeps = zlib.crc32(input[-1].text.encode("utf-8", "replace")) % KEEPS == 0
        prompt = "no change" if keeps else REWRITTEN
        said = f"<reasoning>Nothing was looked at.</reasoning>\n<prompt>{prompt}</prompt>"
        output = ModelOutput.from_content(model=self.model_name, content=said)
        output.usage = ModelUsage(input_tokens=300, output_tokens=30, total_tokens=330)
        return output


if __name__ == "__main__":
    sys.exit(main())
