"""Scripted models, in-process runs and access to their metrics."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog
from inspect_ai.model import (
    ChatMessage,
    GenerateConfig,
    Model,
    ModelOutput,
    ModelUsage,
    get_model,
)

Reply = str | Callable[[list[ChatMessage]], str | ModelOutput]
Scripted = Callable[..., Model]
Run = Callable[..., EvalLog]


@pytest.fixture(autouse=True)
def no_outside_data(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Tests on small folders must not find the real data."""
    if "real_data" not in request.fixturenames:
        monkeypatch.delenv("VLMGUARD_DATA", raising=False)


@pytest.fixture(scope="session")
def scripted() -> Scripted:
    """Make a model that gives one reply, or asks a function for each."""

    def make(reply: Reply, name: str = "target") -> Model:
        def output(input: list[ChatMessage], *_: Any, config: GenerateConfig | None = None) -> Any:
            said = reply if isinstance(reply, str) else reply(input)
            made = said if isinstance(said, ModelOutput) else ModelOutput.from_content(name, said)
            # With usage given, the mock does not fetch a tokenizer to count.
            made.usage = ModelUsage(input_tokens=10, output_tokens=5, total_tokens=15)
            return made

        return get_model(f"mockllm/{name}", custom_outputs=output, memoize=False)

    return make


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a task in this process; returns the log."""

    def evaluate(task: Task, model: Model, **options: Any) -> EvalLog:
        (log,) = inspect_eval(
            task, model=model, display="none", log_dir=str(tmp_path / "logs"), **options
        )
        return log

    return evaluate


@pytest.fixture(scope="session")
def metrics() -> Callable[[EvalLog], dict[str, float]]:
    """All metrics of a log as `scorer.score.metric`; the run must have succeeded."""

    def flat(log: EvalLog) -> dict[str, float]:
        assert log.status == "success", log.error
        assert log.results is not None
        return {
            f"{score.scorer}.{score.name}.{name}": metric.value
            for score in log.results.scores
            for name, metric in score.metrics.items()
        }

    return flat
