"""A small folder of raw rows, and a scripted reasoner."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog
from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput
from support.mocks import mock_model
from support.synthesis import draw_image, good_reply

from vlmguard.training.synthesize import synthesize

Script = Callable[[str], str | ModelOutput]


@pytest.fixture(autouse=True)
def no_outside_data(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Tests on small folders must not find the real data."""
    if "real_data" not in request.fixturenames:
        monkeypatch.delenv("VLMGUARD_DATA", raising=False)


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., Path]:
    """Write rows and their images; returns the JSONL file."""

    def write(*rows: dict[str, Any], name: str = "rows") -> Path:
        path = tmp_path / "raw" / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        for row in rows:
            number = int("".join(filter(str.isdigit, row["image"])) or 0)
            draw_image(path.parent / row["image"], number)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


@pytest.fixture
def model() -> Callable[..., Model]:
    """Make a scripted model; `seen` collects its prompts."""

    def make(script: Script = good_reply, name: str = "reasoner", seen: Any = None) -> Model:
        def say(input: list[ChatMessage], config: GenerateConfig) -> str | ModelOutput:
            if seen is not None:
                seen.append((input, config))
            return script(input[-1].text)

        return mock_model(say, name)

    return make


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., EvalLog]:
    """Run a task in this process; returns the log."""

    def evaluate(task: Task, **options: Any) -> EvalLog:
        (log,) = inspect_eval(task, display="none", log_dir=str(tmp_path / "logs"), **options)
        return log

    return evaluate


@pytest.fixture
def synthesized(
    write_rows: Callable[..., Path], model: Callable[..., Model], run: Callable[..., EvalLog]
) -> Callable[..., Path]:
    """Synthesize rows; returns the log file."""

    def make(*rows: dict[str, Any], script: Any = good_reply, **options: Any) -> Path:
        log = run(
            synthesize(str(write_rows(*rows))), model_roles={"reasoner": model(script)}, **options
        )
        return Path(log.location)

    return make
