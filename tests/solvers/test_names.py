"""Both names of every defense, and the command line."""

import re
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.solver import SolverSpec
from support.defense_scripts import script_of
from support.scripted import Scripted, record_of, run_solver, sample

from vlmguard.guard.cards import DefenseCard, cards
from vlmguard.guard.errors import UserError


@pytest.mark.parametrize("card", cards().defenses.values(), ids=lambda card: card.name)
@pytest.mark.parametrize("prefix", ["", "vlmguard/"])
def test_bare_and_prefixed_names_find_the_defense(card: DefenseCard, prefix: str) -> None:
    script = script_of(card.name)
    roles = script.models("calm")
    target = roles.pop("target")
    options = dict(script.options)
    spec = SolverSpec(f"{prefix}{card.name}", options, options)
    log = run_solver(spec, sample("Q?"), target, roles)
    record = record_of(log)
    assert (record.defense, record.version) == (card.name, card.version)
    assert re.fullmatch(r"[1-9]\d*-[A-Z]", record.version)


def test_an_unknown_option_is_named() -> None:
    options = {"thresh": 1}
    with pytest.raises(UserError, match="-S thresh: eta has no such option"):
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


def test_a_sample_without_a_request_passes_and_its_record_says_so() -> None:
    target = Scripted("ok")
    log = run_solver(SolverSpec("figstep_defense"), sample("  "), target)
    assert record_of(log).skipped == "empty"
    assert [call.text for call in target.calls] == ["  "]
