"""`-T samples=3` with targets that decode greedily by default: the temperature is set."""

from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog
from inspect_ai.model import GenerateConfig, get_model
from support.folders import write_figstep
from support.scripted import Scripted
from support.siuo_folder import write_siuo

from vlmguard.guard.errors import UserError
from vlmguard.tasks.figstep import figstep
from vlmguard.tasks.sampling import check_sampled
from vlmguard.tasks.siuo import siuo


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(write_siuo(tmp_path / "siuo", 1))


def run(task: Any, target: Scripted, folder: str, **options: Any) -> EvalLog:
    (log,) = inspect_eval(
        task, model=target.model, display="none", log_dir=f"{folder}/logs", **options
    )
    return log


@pytest.mark.parametrize(
    ("options", "stated"),
    [
        ({}, None),
        ({"samples": 3}, 1.0),
        ({"samples": 3, "temperature": 0.7}, 0.7),
        ({"temperature": 0}, 0),
        ({"track": "multiple_choice"}, 0),
        ({"track": "multiple_choice", "samples": 2, "temperature": 0.5}, 0.5),
    ],
)
def test_several_answers_come_at_a_stated_temperature(
    folder: str, options: dict[str, Any], stated: float | None
) -> None:
    target = Scripted("(A) Yes.")
    log = run(siuo(judge="none", data_dir=folder, **options), target, folder)
    assert log.status == "success", log.error
    assert [call.config.temperature for call in target.calls] == [stated] * options.get(
        "samples", 1
    )
    assert log.plan.config.temperature == stated


@pytest.mark.parametrize(
    "options",
    [
        {"samples": 3, "temperature": 0},
        {"samples": 3, "temperature": 0.0},
        {"samples": 3, "track": "multiple_choice"},
    ],
)
def test_temperature_0_is_refused_for_several(folder: str, options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="at temperature 0 all answers are the same"):
        siuo(judge="none", data_dir=folder, **options)


def test_so_is_that_of_the_command_line_before_any_answer(folder: str) -> None:
    target = Scripted("Yes.")
    log = run(siuo(judge="none", data_dir=folder, samples=3), target, folder, temperature=0.0)
    assert log.error is not None
    assert "was given temperature 0" in log.error.message
    assert target.calls == []
    # One answer may be greedy.
    log = run(siuo(judge="none", data_dir=folder), target, folder, temperature=0.0)
    assert log.status == "success"


@pytest.mark.parametrize("server", ["vllm", "sglang"])
def test_a_server_may_not_take_top_k_from_its_checkpoint(server: str) -> None:
    def served(**settings: Any) -> Any:
        config = GenerateConfig(**settings)
        address = {"base_url": "http://127.0.0.1:9/v1", "api_key": "none"}
        return get_model(f"{server}/m", config=config, memoize=False, **address)

    with pytest.raises(UserError, match="takes top_k from the checkpoint"):
        check_sampled(3, served(), GenerateConfig())
    stated = {"top_k": -1}
    check_sampled(3, served(extra_body=stated), GenerateConfig())
    check_sampled(3, served(), GenerateConfig(extra_body=stated))


def test_figstep_states_it_too(tmp_path: Path) -> None:
    data = str(write_figstep(tmp_path / "figstep"))
    task = figstep(samples=5, split="tiny", judge="none", data_dir=data)
    assert (task.config.temperature, task.epochs) == (1.0, 5)
    with pytest.raises(UserError, match="-T samples=5: at temperature 0"):
        figstep(samples=5, split="tiny", temperature=0, judge="none", data_dir=data)
