"""What a page needs beside its own words: stand-ins, what runs on, and what is not run, and why."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from support.howtos.commands import Command
from support.howtos.world import World

Prepare = Callable[[Path, World], None]


@dataclass(frozen=True)
class NotRun:
    """A command that is not run here, although its words are checked.

    Attributes:
        begins: How it begins, on one line, as it stands on the page.
        why: The reason.
        covered: What runs it or its parts: a test (`tests/...py::name`), or a line of `.ci/run`.
    """

    begins: str
    why: str
    covered: str


@dataclass(frozen=True)
class Serves:
    """A command that runs until it is stopped; those after it are a second terminal.

    Attributes:
        begins: How it begins, on one line, as it stands on the page.
        port: Where it answers.
        meanwhile: What a reader does while it runs, in bash.
    """

    begins: str
    port: int
    meanwhile: str = ""


@dataclass(frozen=True)
class Ends:
    """A command that is not just run: by its status, its variables, or what a reader does for it.

    Attributes:
        begins: How it begins, on one line, as it stands on the page.
        why: The reason; for a status what the page says of it.
        status: Its exit status.
        environment: Variables that hold for this command.
        first: What a reader does before it, in bash.
        typed: What he types.
    """

    begins: str
    why: str
    status: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    first: str = ""
    typed: str = ""


@dataclass(frozen=True)
class Yaml:
    """A block of YAML.

    Attributes:
        has: Words that it has.
        read: Reads the file with it, as the program does, and raises what is wrong.
        name: The file's name.
    """

    has: str
    read: Callable[[Path], object]
    name: str = "block.yaml"


@dataclass(frozen=True)
class Tables:
    """Everything about a group of pages that stand in one test file.

    Attributes:
        bindings: Real values for what stands for any, each with the reason beside it.
        not_run: Commands that are not run.
        serves: Commands that run on.
        ends: Commands with something of their own.
        yamls: What reads the blocks of YAML.
        environment: Variables of the whole page.
        prepare: Writes what a reader of the page has of his own.
    """

    bindings: Mapping[str, str] = field(default_factory=dict)
    not_run: tuple[NotRun, ...] = ()
    serves: tuple[Serves, ...] = ()
    ends: tuple[Ends, ...] = ()
    yamls: tuple[Yaml, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    prepare: Prepare = lambda folder, world: None

    def left_out(self, command: Command) -> NotRun | None:
        """Why a command is not run, or None."""
        return next((e for e in self.not_run if command.words.startswith(e.begins)), None)

    def server(self, command: Command) -> Serves | None:
        """How a command runs on, or None."""
        return next((e for e in self.serves if command.words.startswith(e.begins)), None)

    def ending(self, command: Command) -> Ends:
        """What is special about a command."""
        found = (e for e in self.ends if command.words.startswith(e.begins))
        return next(found, Ends("", ""))

    def unused(self, commands: list[Command]) -> list[str]:
        """Entries that no command of the pages has any more."""
        texts = [command.words for command in commands]
        entries = (*self.not_run, *self.serves, *self.ends)
        return [e.begins for e in entries if not any(text.startswith(e.begins) for text in texts)]
