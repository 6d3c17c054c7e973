"""Scripted models for parts of the guard in real runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog
from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput, ModelUsage, get_model

Counted = Callable[..., tuple[Model, list[GenerateConfig]]]
Run = Callable[..., EvalLog]


@pytest.fixture(scope="session")
def counted() -> Counted:
    """Make a model with one reply, and the list of settings that it was called with."""

    def make(name: str = "target", reply: str = "Yes.", **config: Any) -> tuple[Model, list[Any]]:
        calls: list[GenerateConfig] = []

        def output(
            input: list[ChatMessage], tools: Any, choice: Any, config: GenerateConfig
        ) -> ModelOutput:
            calls.append(config)
            made = ModelOutput.from_content(name, reply)
            made.usage = ModelUsage(input_tokens=10, output_tokens=5, total_tokens=15)
            return made

        model = get_model(
            f"mockllm/{name}",
            custom_outputs=output,
            memoize=False,
            config=GenerateConfig(**config),
        )
        return model, calls

    return make


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a task in this process; returns the log."""

    def evaluate(task: Task, **options: Any) -> EvalLog:
        (log,) = inspect_eval(task, display="none", log_dir=str(tmp_path / "logs"), **options)
        return log

    return evaluate
