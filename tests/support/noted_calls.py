"""A model API in every process of a run, and of a cluster, that notes each call in one file.

The notes outlive a process that is killed. Inspect finds the API by an entry point, which stands
in a folder on `PYTHONPATH`: `noted/NAME`, with `-M latency=SECONDS` for the time of each answer.
Every reply depends on its request alone.
"""

import asyncio
import json
import os
import re
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    modelapi,
)

__all__ = ["Call", "Notes"]

_VARIABLE = "NOTED_CALLS"


@dataclass(frozen=True)
class Call:
    """An answered call.

    Attributes:
        model: Name of the model.
        about: Number of the sample.
        process: Id of the process that made the call.
        at: Time of the answer.
    """

    model: str
    about: int
    process: int
    at: float


class Notes:
    """The calls of all processes with this environment.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        package = folder / "noted_calls-0.dist-info"
        package.mkdir(parents=True)
        (package / "METADATA").write_text("Metadata-Version: 2.1\nName: noted-calls\nVersion: 0\n")
        (package / "entry_points.txt").write_text(f"[inspect_ai]\nnoted = {__name__}\n")
        self._file = folder / "calls.txt"
        self._file.touch()
        self.environment = {
            "PYTHONPATH": os.pathsep.join([str(folder), str(Path(__file__).resolve().parents[1])]),
            _VARIABLE: str(self._file),
        }

    def calls(self) -> list[Call]:
        """All calls so far."""
        lines = self._file.read_text().splitlines()
        return [Call(*json.loads(line)) for line in lines]

    def paid_twice(self, since: int = 0) -> int:
        """Calls that were made before: of the same model about the same sample.

        Args:
            since: Leave out so many calls.
        """
        times = Counter((call.model, call.about) for call in self.calls()[since:])
        return sum(times.values()) - len(times)


@modelapi(name="noted")
def _noted() -> type[ModelAPI]:
    return _Noted


class _Noted(ModelAPI):
    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        latency: float = 0.0,
        **_: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        self._latency = latency

    async def generate(self, input: list[ChatMessage], *_: Any, **__: Any) -> ModelOutput:
        await asyncio.sleep(self._latency)
        text = input[-1].text
        found = re.search(r"colour (\d+)", text)
        number = int(found[1]) if found else 0
        line = json.dumps([self.model_name, number, os.getpid(), time.time()])
        # One write, so that the lines of several processes do not mix.
        with open(os.environ[_VARIABLE], "ab", buffering=0) as file:
            file.write(f"{line}\n".encode())
        output = ModelOutput.from_content(self.model_name, _reply_to(text, number))
        output.usage = ModelUsage(input_tokens=200, output_tokens=20, total_tokens=220)
        return output


def _reply_to(text: str, number: int) -> str:
    if '"safety"' in text:
        return json.dumps({"safety": number % 11, "helpful": number % 2 == 1})
    if "<reasoning>" in text:
        return f"<reasoning>Paint.</reasoning><prompt>Safely, colour {number}?</prompt>"
    return f"An answer about colour {number}."
