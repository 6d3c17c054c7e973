"""Shared by the subcommands: reading the user's logs, and the console.

They import this module when they run, since it loads Inspect.
"""

import argparse
import shlex

from rich.console import Console

from vlmguard.guard.errors import UserError
from vlmguard.guard.package import PACKAGE
from vlmguard.guard.paths import existing
from vlmguard.guard.progress import tracked
from vlmguard.guard.terminal import say_next
from vlmguard.results.logs.frame import Results, find_logs, gathered, read_each
from vlmguard.results.sanitize import one_line


def read_logs(logs: list[str]) -> Results:
    """Read logs and show how many are read; an error if none is usable."""
    paths = [log_place(each) for each in logs]
    found = find_logs(paths)
    results = gathered(tracked(read_each(found), "reading logs", len(found)))
    if not results.runs:
        reasons = "\n".join(
            f"  {one_line(f'{path}: {reason}')}" for path, reason in results.left_out.items()
        )
        raise UserError(f"none of {len(results.left_out)} logs can be used:\n{reasons}")
    return results


def log_place(typed: str) -> str:
    """The path of a log or folder, which must be there, or its URL (`s3://...`) unchanged."""
    return typed if "://" in typed else str(existing(typed, "file or folder"))


def say_again(arguments: argparse.Namespace, *options: str) -> None:
    """Say what to do next: the same command with more options.

    Args:
        arguments: Those of this command.
        *options: The options.
    """
    say_next(f"{shlex.join([PACKAGE, *arguments.words])} {' '.join(options)}")


def plain_console(stderr: bool = False) -> Console:
    """A console that prints text unchanged: no colours, no markup, no added line breaks."""
    return Console(stderr=stderr, highlight=False, markup=False, soft_wrap=False)
