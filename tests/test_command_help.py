"""What each `--help` shows: examples that work as they are written, within 80 columns."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from inspect_ai._cli.eval import eval_command

from vlmguard.cli import command_parser
from vlmguard.guard.cards import cards
from vlmguard.guard.command_line import PURPOSES, CommandParser

INNER = re.compile(r"\$\((.*?)\)")


def parsers(parser: CommandParser) -> Iterator[CommandParser]:
    yield parser
    for inner in parser.subcommands.values():
        yield from parsers(inner)


ALL = list(parsers(command_parser()))
EXAMPLES = [(each.prog, example) for each in ALL for example in each.examples]


@pytest.mark.parametrize(("command", "example"), EXAMPLES)
def test_an_example_is_understood_by_the_command_that_it_shows(command: str, example: str) -> None:
    for inner in [*INNER.findall(example), INNER.sub("", example)]:
        words = shlex.split(inner.replace("\\\n", " "), comments=True)
        if words[:2] == ["inspect", "eval"]:
            eval_command.make_context("inspect eval", words[2:])  # parses, and runs nothing
            _names_exist(words[2], words[words.index("--solver") + 1])
            continue
        assert words[0] == "vlmguard"
        joined = ["data fetch", *words[3:]] if words[1:3] == ["data", "fetch"] else words[1:]
        arguments, rest = command_parser().parse_known_args(joined)
        assert "set" in arguments or not rest
        if "check" in arguments:
            arguments.check(arguments)


def _names_exist(task: str, solver: str) -> None:
    assert task.removeprefix("vlmguard/") in cards().benchmarks
    assert solver in cards().defenses


@pytest.mark.parametrize("width", [80, 120])
def test_help_fits_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for each in ALL:
        lines = each.format_help().splitlines()
        assert [line for line in lines if len(line) > width] == [], each.prog


def test_each_command_says_what_it_is_for_and_shows_an_example() -> None:
    top = command_parser()

    assert {each.purpose for each in top.subcommands.values()} == {*PURPOSES}
    assert [each.prog for each in ALL if not each.examples and not each.subcommands] == []


def test_every_option_says_what_it_is_for() -> None:
    assert [
        f"{each.prog} {'/'.join(action.option_strings) or action.dest}"
        for each in ALL
        for action in each._actions
        if not action.help and not each.subcommands
    ] == []


DEFAULT = re.compile(r"default: ")


def test_a_default_that_is_a_value_is_stated() -> None:
    """False, an empty list and None (not given) need no words."""
    assert [
        f"{each.prog} {'/'.join(action.option_strings)}"
        for each in ALL
        for action in each._actions
        if action.option_strings and action.default not in (None, False, [], "==SUPPRESS==")
        if not DEFAULT.search(action.help or "")
    ] == []


def test_names_in_examples_of_files_are_those_of_the_repository(repo: Path) -> None:
    ready = re.compile(r"vlmguard train --config (\S+)")
    named = [name for _, example in EXAMPLES for name in ready.findall(example)]
    missing = [
        name
        for name in named
        if not name.endswith(".yaml") and not (repo / f"training/configs/{name}.yaml").is_file()
    ]
    assert named
    assert missing == []
