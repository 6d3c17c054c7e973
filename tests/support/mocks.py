"""Scripted models in this process, and the metrics of a log."""

from collections.abc import Callable, Iterator
from typing import Any

from inspect_ai.log import EvalLog, EvalScore
from inspect_ai.model import (
    ChatMessage,
    GenerateConfig,
    Model,
    ModelOutput,
    ModelUsage,
    get_model,
)

Say = Callable[[list[ChatMessage], GenerateConfig], str | ModelOutput]


def mock_model(say: Say, name: str) -> Model:
    """A model of its own, `mockllm/NAME`, that says what a function makes of each request."""

    def output(
        input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig
    ) -> ModelOutput:
        said = say(input, config)
        made = said if isinstance(said, ModelOutput) else ModelOutput.from_content(name, said)
        made = made.model_copy(deep=True)
        # With usage given, the mock does not fetch a tokenizer to count.
        made.usage = ModelUsage(input_tokens=10, output_tokens=5, total_tokens=15)
        return made

    return get_model(f"mockllm/{name}", custom_outputs=output, memoize=False)


def metrics_of(log: EvalLog) -> Iterator[tuple[EvalScore, str, float]]:
    """Score, name and value of each metric of a run, which must have succeeded."""
    assert log.status == "success", log.error
    assert log.results is not None
    for score in log.results.scores:
        for name, metric in score.metrics.items():
            yield score, name, metric.value
