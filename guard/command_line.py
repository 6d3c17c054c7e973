"""The parser of `vlmguard` and its subcommands: argparse that proposes what was probably meant."""

import argparse
import re
from typing import Any, Final, NoReturn

__all__ = ["CommandParser"]

# How argparse words a choice that it does not know; its names are in quotes or not.
_INVALID_CHOICE: Final = re.compile(r"invalid choice: (.+) \(choose from (.+)\)$")
_UNRECOGNIZED: Final = "unrecognized arguments: "
_OPTION: Final = re.compile(r"--[\w-]+")


class CommandParser(argparse.ArgumentParser):
    """A parser whose errors name the choice, subcommand or option that is like the one given."""

    _subcommands: Any = None

    def add_subparsers(self, **kwargs: Any) -> Any:
        """As in argparse; the parsers of subcommands are of this class, too."""
        self._subcommands = super().add_subparsers(**kwargs)
        return self._subcommands

    def named(self, words: list[str]) -> "CommandParser":
        """The parser of the subcommand that the words of a command line begin with."""
        subcommands = self._subcommands.choices if self._subcommands else {}
        parser: CommandParser | None = subcommands.get(words[0]) if words else None
        return parser.named(words[1:]) if parser else self

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
        super().error(message)
