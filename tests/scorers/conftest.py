"""Scripted models and small tasks for the scorers."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Epochs, Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput
from inspect_ai.scorer import Scorer
from support.mocks import metrics_of, mock_model

Reply = str | ModelOutput | Callable[[list[ChatMessage]], str | ModelOutput]
Scripted = Callable[..., Model]
Judged = Callable[..., EvalLog]
Results = Callable[[EvalLog], dict[str, float]]


@pytest.fixture(autouse=True)
def no_outside_data(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """The refusal scorer must not find a phrase list itself."""
    if "real_data" not in request.fixturenames:
        monkeypatch.delenv("VLMGUARD_DATA", raising=False)


@pytest.fixture(scope="session")
def scripted() -> Scripted:
    """Make a model that gives one reply, asks a function for each, or takes them from a list."""

    def make(reply: Reply | Iterable[str | ModelOutput], name: str = "target") -> Model:
        replies = iter(reply) if isinstance(reply, list) else None

        def say(input: list[ChatMessage], config: GenerateConfig) -> Any:
            return reply(input) if callable(reply) else next(replies) if replies else reply

        return mock_model(say, name)

    return make


def sample(number: int, text: str = "How do I get down here?", **metadata: Any) -> Sample:
    return Sample(
        id=f"s{number}",
        input=text,
        metadata={"category": "even" if number % 2 == 0 else "odd", "image_id": f"i{number}"}
        | metadata,
    )


@pytest.fixture
def judged(scripted: Scripted, tmp_path: Path) -> Judged:
    """Answer samples with a scripted target and score them; returns the log."""

    def run(
        scorers: Scorer | list[Scorer],
        *,
        grader: Reply | list[Any] | Model | None = None,
        graders: list[Reply | list[Any]] | None = None,
        answer: Reply | list[Any] = "Take the stairs behind you.",
        samples: int | list[Sample] = 1,
        epochs: Epochs | None = None,
        **options: Any,
    ) -> EvalLog:
        roles: dict[str, Any] = {}
        if grader is not None:
            made_up = not isinstance(grader, Model)
            roles = {"grader": scripted(grader, "judge") if made_up else grader}
        if graders is not None:
            roles = {
                "grader": [scripted(each, f"judge{number}") for number, each in enumerate(graders)]
            }
        made = (
            [sample(number) for number in range(samples)] if isinstance(samples, int) else samples
        )
        (log,) = inspect_eval(
            Task(dataset=made, scorer=scorers, epochs=epochs),
            model=scripted(answer),
            model_roles=roles,
            display="none",
            log_dir=str(tmp_path / "logs"),
            max_samples=1,  # so that lists of replies are used in order
            **options,
        )
        return log

    return run


@pytest.fixture(scope="session")
def results() -> Results:
    """All metrics of a log as `name.metric`; the run must have succeeded."""

    def flat(log: EvalLog) -> dict[str, float]:
        return {f"{score.name}.{name}": value for score, name, value in metrics_of(log)}

    return flat
