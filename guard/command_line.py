"""The parser of `vlmguard` and its subcommands: argparse with examples, purposes and proposals."""

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from vlmguard.guard.terminal import painted

__all__ = ["PURPOSES", "CommandParser"]

PURPOSES: Final = {
    "measure": "measure a model, with and without a guard",
    "compare": "compare what was measured",
    "build": "build and adjust a guard",
    "serve": "use a guard",
}
"""What commands are for, with the headings under which help lists them."""

# How argparse words a choice that it does not know; its names are in quotes or not.
_INVALID_CHOICE: Final = re.compile(r"invalid choice: (.+) \(choose from (.+)\)$")
_UNRECOGNIZED: Final = "unrecognized arguments: "
_OPTION: Final = re.compile(r"--[\w-]+")


class HelpFormatter(argparse.HelpFormatter):
    """Keeps paragraphs apart, and those with indented lines as they are: commands to copy."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        paragraphs = text.split("\n\n")
        return "\n\n".join(
            each if "\n  " in each else fill(each, width, indent) for each in paragraphs
        )


class CommandParser(argparse.ArgumentParser):
    """A parser with examples in its help, whose errors name what is like the word given.

    Args:
        examples: Commands to copy; each may be of several lines.
        purpose: The key of `PURPOSES` under which the help of `vlmguard` lists the command.
        **rest: As for `ArgumentParser`.
    """

    _subcommands: Any = None

    def __init__(self, *, examples: Sequence[str] = (), purpose: str = "", **rest: Any) -> None:
        super().__init__(**{"formatter_class": HelpFormatter, **rest})
        self.examples: Final = tuple(examples)
        self.purpose: Final = purpose

    def add_subparsers(self, **kwargs: Any) -> Any:
        """As in argparse; the parsers of subcommands are of this class, too."""
        self._subcommands = super().add_subparsers(**kwargs)
        return self._subcommands

    @property
    def subcommands(self) -> "dict[str, CommandParser]":
        """The parsers of the subcommands, by name."""
        return dict(self._subcommands.choices) if self._subcommands else {}

    def named(self, words: list[str]) -> "CommandParser":
        """The parser of the subcommand that the words of a command line begin with."""
        parser = self.subcommands.get(words[0]) if words else None
        return parser.named(words[1:]) if parser else self

    def format_help(self) -> str:
        """As in argparse, with subcommands under their purposes, and with examples."""
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        for group in self._action_groups:
            if self._subcommands in group._group_actions:
                self._add_subcommands(formatter)
                continue
            formatter.start_section(group.title)
            formatter.add_text(group.description)
            formatter.add_arguments(group._group_actions)
            formatter.end_section()
        formatter.add_text(self.format_examples())
        formatter.add_text(self.epilog)
        return formatter.format_help()

    def format_examples(self, heading: str = "examples:") -> str:
        """The examples below a heading; empty if there are none."""
        lines = "\n".join(self.examples).replace("\n", "\n  ")
        return f"{heading}\n  {lines}" if lines else ""

    def _add_subcommands(self, formatter: argparse.HelpFormatter) -> None:
        """List the subcommands under the headings of their purposes, if they have some."""
        listed = self._subcommands._choices_actions
        for purpose, heading in (PURPOSES | {"": "commands"}).items():
            under = [each for each in listed if self.subcommands[each.dest].purpose == purpose]
            formatter.start_section(heading)  # argparse leaves an empty section out
            formatter.add_arguments(under)
            formatter.end_section()

    def error(self, message: str) -> NoReturn:
        """End with usage, message and proposal."""
        # Imported here: it takes time that a command without a mistake need not spend.
        from vlmguard.guard.alike import did_you_mean

        if found := _INVALID_CHOICE.search(message):
            known = [each.strip(" '\"") for each in found[2].split(",")]
            message += f".{did_you_mean(found[1].strip(chr(39)), known)}"
        elif message.startswith(_UNRECOGNIZED):
            message += "."
            options = dict.fromkeys(_OPTION.findall(self.format_usage()))
            for word in message.removeprefix(_UNRECOGNIZED).split():
                if word.startswith("--"):
                    message += did_you_mean(word.partition("=")[0], options)
        self.print_usage(sys.stderr)
        self.exit(2, f"{painted(f'{self.prog}: error:', 'error', sys.stderr)} {message}\n")
