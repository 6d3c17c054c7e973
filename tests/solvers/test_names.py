"""Both names of every defense, and the command line."""

import re
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.solver import SolverSpec
from support.scripted import Scripted, message_of, record_of, run_solver, sample

DEFENSES = ["vlmguard", "ecso", "eta", "mllm_protector", "figstep_defense"]


@pytest.mark.parametrize("name", DEFENSES)
@pytest.mark.parametrize("prefix", ["", "vlmguard/"])
def test_bare_and_prefixed_names_find_the_defense(name: str, prefix: str) -> None:
    options: dict[str, Any] = {"eta": {"decoding": "response"}}.get(name, {})
    roles = {
        "rewriter": Scripted("<prompt>Q?</prompt>", "rewriter"),
        "reward": Scripted("9", "reward"),
        "detector": Scripted("SAFE", "detector"),
    }
    spec = SolverSpec(f"{prefix}{name}", options, options)
    log = run_solver(spec, sample("Q?"), Scripted("ok"), roles)
    assert record_of(log).defense == name
    assert re.fullmatch(r"[2-9]-[A-Z]", record_of(log).version)


def test_an_unknown_option_is_named() -> None:
    options = {"thresh": 1}
    with pytest.raises(TypeError, match="thresh"):
        run_solver(SolverSpec("eta", options, options), sample("Q?"), Scripted("ok"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["eta", "vlmguard/eta"])
def test_the_command_line_passes_options_and_shows_what_is_wrong(
    name: str, cli: Any, tmp_path: Path
) -> None:
    (tmp_path / "task.py").write_text(
        "from inspect_ai import Task, task\n"
        "from inspect_ai.dataset import Sample\n\n\n"
        "@task\n"
        "def one() -> Task:\n"
        '    return Task(dataset=[Sample(input="Q?")])\n'
    )
    common = ("--model", "mockllm/model", "--log-dir", "logs", "--display", "plain")
    done = cli("inspect", "eval", "task.py", "--solver", name, *common, cwd=tmp_path)
    assert "decoding=response" in done.stdout + done.stderr
    option = ("-S", "alpha=-1")
    done = cli("inspect", "eval", "task.py", "--solver", name, *option, *common, cwd=tmp_path)
    assert "-S alpha=-1: a number of at least 0" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_sample_without_a_request_is_refused() -> None:
    for spec in (SolverSpec("ecso"), SolverSpec("figstep_defense")):
        target = Scripted("ok")
        log = run_solver(spec, sample("  "), target)
        assert "s/1: the user message has no text" in message_of(log)
        assert target.calls == []
