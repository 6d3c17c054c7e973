"""Completes commands with the Tab key, by argcomplete: subcommands, options, choices and names.

A shell waits for it, so names are read from source texts: importing them would load Inspect.
"""

import argparse
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import argcomplete
from argcomplete.completers import FilesCompleter

from vlmguard.guard.command_line import CommandParser

__all__ = ["NAMES", "complete"]

_HOME: Final = Path(__file__).absolute().parents[1]
_CARD: Final = re.compile(r"^CARD\b", re.MULTILINE)
_FETCHED: Final = re.compile(r"^CARD\b.*^    layouts=", re.MULTILINE | re.DOTALL)
_ATTACK: Final = re.compile(r"^    name=\"([\w:]+)\"", re.MULTILINE)
_KINDS: Final = ("benchmarks", "tasks", "defenses", "roles", "formats")
_FETCH: Final = re.compile(r"^(\S+\s+)data\s+fetch(?=\s)")


def _with(pattern: re.Pattern[str], folder: Path) -> list[str]:
    """What is below a folder and has a text in it: files, and folders by one of their files."""
    found = [each for each in folder.rglob("*.py") if pattern.search(each.read_text())]
    return [each.relative_to(folder).parts[0].removesuffix(".py") for each in found]


def _stems(folder: str) -> list[str]:
    return [each.stem for each in (_HOME / folder).glob("*.yaml")]


def _benchmarks() -> list[str]:
    return [*_with(_CARD, _HOME / "tasks"), *_stems("tasks/presets")]


def _with_data() -> list[str]:
    return [*_with(_FETCHED, _HOME / "tasks"), *_stems("tasks/presets")]


def _defenses() -> list[str]:
    return _with(_CARD, _HOME / "solvers")


def _attacks() -> list[str]:
    files = [each.read_text() for each in (_HOME / "guard/attacks").rglob("*.py")]
    return [name for each in files if _CARD.search(each) for name in _ATTACK.findall(each)]


NAMES: Final[dict[tuple[str, str], Callable[[], list[str]]]] = {
    ("data", "names"): lambda: ["fetch", *_with_data()],
    ("data fetch", "names"): _with_data,
    ("data fetch", "accept_license"): _with_data,
    ("run", "benchmark"): _benchmarks,
    ("run", "defense"): lambda: ["none", *_defenses()],
    ("run", "attack"): _attacks,
    ("run", "suite"): lambda: _stems("results/configs/suites"),
    ("run", "config"): lambda: _stems("results/configs"),
    ("list", "what"): lambda: [*_KINDS, *_benchmarks(), *_defenses()],
    ("attack list", "name"): _attacks,
    ("attack render", "attack"): _attacks,
    ("attack render", "task"): _benchmarks,
    ("calibrate", "defense"): _defenses,
    ("microworld flags", "solver"): _defenses,
    ("gate", "defense"): _defenses,
    ("serve", "defense"): _defenses,
    ("try", "defense"): _defenses,
    ("train", "config"): lambda: _stems("training/configs"),
}
"""Makes the names that an argument of a command takes, by command and argument."""

# These take a file as well as a name.
_FILES_TOO: Final = ("config",)


def complete(parser: CommandParser) -> None:
    """Answer the shell that asks what may come next, and end the process.

    Args:
        parser: The parser of `vlmguard`.
    """
    _one_word()
    _attach(parser, "")
    argcomplete.autocomplete(parser, always_complete_options="long", exclude=["data fetch"])


def _one_word() -> None:
    """Quote `data fetch` in the line that is completed: for the parser it is one word."""
    line = os.environ["COMP_LINE"]
    quoted = _FETCH.sub(r"\1'data fetch'", line)
    if quoted != line:
        added = len(quoted) - len(line)
        os.environ["COMP_LINE"] = quoted
        os.environ["COMP_POINT"] = str(int(os.environ["COMP_POINT"]) + added)


def _attach(parser: CommandParser, command: str) -> None:
    for action in parser._actions:
        make = NAMES.get((command, action.dest))
        if make is not None:
            # argcomplete looks for the attribute; argparse does not know it.
            action.completer = _Names(make, action.dest in _FILES_TOO)  # type: ignore[attr-defined]
    for name, inner in parser.subcommands.items():
        _attach(inner, f"{command} {name}".strip())


class _Names:
    """A completer as argcomplete calls it.

    Args:
        make: Makes all names.
        files: Whether files are proposed too.
    """

    def __init__(self, make: Callable[[], Iterable[str]], files: bool) -> None:
        self._make = make
        self._files = files

    def __call__(self, prefix: str, **rest: argparse.Namespace) -> list[str]:
        files = FilesCompleter()(prefix) if self._files else []
        return [*(name for name in self._make() if name.startswith(prefix)), *files]
