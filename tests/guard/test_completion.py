"""The Tab key, as a shell asks for it: a line and a place in it, answered in a file."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vlmguard.guard.attacks
from vlmguard.cli import command_parser
from vlmguard.guard.attacks.base import attack_cards
from vlmguard.guard.cards import cards
from vlmguard.guard.completion import NAMES
from vlmguard.tasks.data.command import known_sets

HEAVY = {"inspect_ai", "torch", "rich", "pydantic", "pandas"}


def offered(line: str, folder: Path) -> list[str]:
    """What is offered at the end of a line, which loads nothing heavy."""
    asked = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_COMP_WORDBREAKS": " \t\n\"'><=;|&(:",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(folder / "offered"),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    program = "import sys; from vlmguard.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", program],
        env=os.environ | asked,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    loaded = {each.rpartition("|")[2].strip() for each in done.stderr.splitlines()}
    assert "vlmguard.cli" in loaded
    assert loaded.isdisjoint(HEAVY)
    return [each.strip() for each in (folder / "offered").read_text().split("\n") if each]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("vlmguard le", ["leaderboard"]),
        ("vlmguard da", ["data"]),
        ("vlmguard data fet", ["fetch"]),
        ("vlmguard data fetch figs", ["figstep"]),
        ("vlmguard data  fetch figstep --acc", ["--accept-license"]),
        ("vlmguard gate --re", ["--replay", "--rewriter"]),
        ("vlmguard gate --on-failure ", ["original", "refuse"]),
        ("vlmguard run --suite co", ["core"]),
        ("vlmguard run --defense mll", ["mllm_protector"]),
        ("vlmguard attack ren", ["render"]),
        ("vlmguard microworld flags et", ["eta"]),
        ("vlmguard train --config micro", ["microworld", "micro.yaml"]),
        ("vlmguard leaderboard micro", ["micro.yaml"]),
        ("vlmguard attack list adaptive:R1", ["R1", "R10", "R11", "R12", "R13"]),
    ],
)
def test_what_may_come_next_is_offered(line: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "micro.yaml").touch()

    assert sorted(offered(line, tmp_path)) == sorted(expected)


def test_the_line_that_help_names_switches_it_on_in_bash(tmp_path: Path) -> None:
    script = tmp_path / "rc"
    setup = re.findall(r"bash, zsh +(.*)", command_parser().format_help())
    script.write_text(
        f"""{setup[0]}
complete -p vlmguard
COMP_LINE='vlmguard data fetch mossb' COMP_POINT=25 COMP_TYPE=9
_python_argcomplete vlmguard
echo "${{COMPREPLY[@]}}"
"""
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", script],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines()[-1].strip() == "mossbench"
    assert "_python_argcomplete vlmguard" in done.stdout


def test_names_are_those_of_the_cards() -> None:
    assert vlmguard.guard.attacks

    assert set(NAMES["run", "benchmark"]()) == set(cards().benchmarks)
    assert set(NAMES["data fetch", "names"]()) == set(known_sets())
    assert set(NAMES["serve", "defense"]()) == set(cards().defenses)
    assert set(NAMES["attack list", "name"]()) == set(attack_cards())


def test_each_place_for_names_is_an_argument_that_there_is() -> None:
    for command, dest in NAMES:
        words = ["data fetch"] if command == "data fetch" else command.split()
        parser = command_parser().named(words)
        assert parser.prog == f"vlmguard {command}"
        assert dest in {action.dest for action in parser._actions}
