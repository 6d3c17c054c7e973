"""Scripted models, in-process runs and access to their metrics."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog
from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput
from support.mocks import metrics_of, mock_model

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
        def say(input: list[ChatMessage], config: GenerateConfig) -> str | ModelOutput:
            return reply if isinstance(reply, str) else reply(input)

        return mock_model(say, name)

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
        return {
            f"{score.scorer}.{score.name}.{name}": value for score, name, value in metrics_of(log)
        }

    return flat
