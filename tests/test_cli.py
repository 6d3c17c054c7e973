"""`vlmguard` before a subcommand runs: help imports no heavy libraries, and so is quick."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vlmguard.guard.command_line import PURPOSES

HEAVY = (
    *("inspect_ai", "torch", "transformers", "pandas", "numpy", "matplotlib", "scipy", "datasets"),
    *("trl", "peft", "pydantic", "rich", "PIL"),
    # These load Inspect.
    *("vlmguard.guard.errors", "vlmguard.tasks", "vlmguard._registry"),
)

HEADINGS = f"(?:{'|'.join([*PURPOSES.values(), 'commands'])})"

PROGRAM = f"""\
import atexit, json, sys
from vlmguard.cli import main
def tell():
    print(json.dumps([name for name in {HEAVY} if name in sys.modules]), file=sys.stderr)
atexit.register(tell)
sys.exit(main())
"""


def start(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=False
    )


def imported(done: "subprocess.CompletedProcess[str]") -> list[str]:
    found: list[str] = json.loads(done.stderr.splitlines()[-1])
    return found


def test_help_imports_nothing_heavy_nor_that_of_any_subcommand() -> None:
    waiting: list[tuple[str, ...]] = [()]
    seen = set()
    while waiting:
        words = waiting.pop()
        done = start(*words, "--help")
        assert done.returncode == 0, done.stderr
        assert imported(done) == [], f"vlmguard {' '.join(words)} --help"
        seen.add(" ".join(words))
        # Names of subcommands are indented by two, their help by more.
        listed = re.findall(rf"(?s){HEADINGS}:\n(.*?)\n\n", done.stdout)
        names = re.findall(r"(?m)^ {2}(\w+(?: \w+)?)", "\n".join(listed))
        waiting += [(*words, *name.split()) for name in names]

    assert seen == {
        *(
            "",
            "data",
            "data fetch",
            "export",
            "pool",
            "train",
            "run",
            "leaderboard",
            "gate",
            "diff",
            "agreement",
        ),
        *(
            "label",
            "power",
            "calibrate",
            "list",
            "new",
            "microworld",
            "serve",
            "try",
            "microworld build",
            "microworld rows",
        ),
        *("attack", "attack list", "attack render"),
        *("microworld flags", "microworld demo", "microworld matrix"),
    }


@pytest.mark.parametrize("words", [[], ["nonsense"], ["gate"], ["diff", "a", "b", "--nope"]])
def test_nor_does_a_mistake_in_the_arguments(words: list[str]) -> None:
    done = start(*words)

    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")
    assert imported(done) == []


def test_a_subcommand_imports_what_it_needs() -> None:
    done = start("power", "--difference", "5")

    assert done.returncode == 2
    assert "vlmguard: power: name two pilot logs" in done.stderr
    assert "inspect_ai" in imported(done)


def test_a_sheet_of_an_attack_loads_no_model(tmp_path: Path) -> None:
    done = start("attack", "render", "figstep", "--out", str(tmp_path / "sheet.png"))

    assert done.returncode == 0, done.stderr
    heavy = {"torch", "transformers", "datasets", "trl", "peft", "pandas", "scipy", "matplotlib"}
    assert heavy.isdisjoint(imported(done))


POWER = ("power", "--rate", "0.7", "--agreement", "0.8", "--difference", "5")


@pytest.fixture
def unread() -> Iterator[int]:
    """A pipe whose reader has left, as `head` does, here before the first line."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.parametrize("words", [("--help",), POWER], ids=["--help", "power"])
def test_a_reader_that_leaves_ends_a_command_quietly(words: tuple[str, ...], unread: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        stdout=unread,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )

    assert done.returncode == 141
    assert done.stderr.splitlines()[:-1] == []  # the last line is PROGRAM's own


def test_messages_that_nobody_reads_do_not_change_the_exit_status(unread: int) -> None:
    program = PROGRAM.replace("atexit.register(tell)", "")
    done = subprocess.run([sys.executable, "-c", program, "gate"], stderr=unread, check=False)

    assert done.returncode == 2


def test_output_may_be_closed_from_the_start() -> None:
    command = f"exec '{sys.executable}' -c \"$0\" --help >&-"
    done = subprocess.run(["sh", "-c", command, PROGRAM], capture_output=True, check=False)

    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


def test_without_a_command_the_usual_path_is_shown_and_it_is_a_mistake() -> None:
    done = start()

    # Not 0: in CI, an empty variable in the place of the command must not pass for a check.
    assert done.returncode == 2
    assert done.stdout == ""
    path = done.stderr.partition("The usual path:\n")[2].splitlines()[:5]
    words = [line.split()[:2] for line in path]
    assert words == [
        ["vlmguard", "data"],
        ["inspect", "eval"],
        ["vlmguard", "leaderboard"],
        ["vlmguard", "diff"],
        ["vlmguard", "gate"],
    ]
    assert "vlmguard --help" in done.stderr
    assert imported(done) == []


def test_the_versions_that_a_report_needs_are_on_one_line() -> None:
    done = start("--version")

    assert done.returncode == 0
    assert re.fullmatch(
        r"vlmguard \d+\.\d+\S* \(inspect_ai \d+\.\d+\S*, Python 3\.\d+\.\d+\)\n", done.stdout
    )
    assert imported(done) == []
