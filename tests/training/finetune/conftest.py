"""A small export, and runs of `vlmguard train` in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from support.training_data import write_export

from vlmguard.training.finetune.train import main


@pytest.fixture
def train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run the command; returns its exit status and stderr."""

    def run(**settings: Any) -> tuple[int, str]:
        file = tmp_path / "run.yaml"
        file.write_text(yaml.safe_dump(settings))
        status = main(["--config", str(file)])
        return status, capsys.readouterr().err

    return run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_export(tmp_path_factory.mktemp("data") / "data", train=8, validation=2)


@pytest.fixture(autouse=True, scope="module")
def _few_threads() -> None:
    torch.set_num_threads(1)
