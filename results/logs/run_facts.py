"""What a run was: when, of which versions, where its log is, and what makes it again."""

import os
from pathlib import Path
from typing import Final

from inspect_ai.log import EvalLog

from vlmguard.guard.package import PACKAGE
from vlmguard.guard.redaction import redact_text
from vlmguard.results.logs.run_command import command_of
from vlmguard.results.sanitize import one_line

__all__ = ["COMMAND", "LOG", "log_place_from", "run_facts"]

LOG: Final = "Log"
"""The heading of the log's place among the facts."""

COMMAND: Final = "Command"
"""The heading of the command that makes the run again."""

_PACKAGES: Final = {PACKAGE: PACKAGE, "inspect_ai": "Inspect AI"}


def run_facts(log: EvalLog, defense: str, version: str) -> dict[str, str]:
    """The facts of a run by their headings, without secrets.

    Args:
        log: Its header.
        defense: Name of its defense; `none` without one.
        version: The defense's version; empty if the log notes none.
    """
    spec = log.eval
    named = {_PACKAGES[name]: spec.packages[name] for name in _PACKAGES if name in spec.packages}
    found = {
        "Date": spec.created,
        **{f"{name} version": text for name, text in named.items()},
        "Task version": str(spec.task_version),
        "Defense version": "" if defense == "none" else version,
        "Commit": _commit(log),
    }
    facts = {name: one_line(redact_text(text)) for name, text in found.items() if text}
    # As it is: an argument may have line breaks.
    return {**facts, COMMAND: command_of(log).text}


def log_place_from(path: str, folder: Path) -> str:
    """A log's place as a page in a folder refers to it.

    Args:
        path: The log.
        folder: The folder of the page.

    Returns:
        The way from that folder, if both lie in one folder of the user's; else its name alone,
        which tells who reads a published page nothing of a machine.
    """
    if "://" in path:
        return path
    log, start = Path(path).resolve(), folder.resolve()
    shared = Path(os.path.commonpath([log, start]))
    # What all files of a machine share says nothing about where the two lie.
    if shared in (Path(shared.anchor), Path.home(), Path.home().parent):
        return log.name
    way = Path(os.path.relpath(log, start)).as_posix()
    # A name alone leads nowhere.
    return way if "/" in way else f"./{way}"


def _commit(log: EvalLog) -> str:
    revision = log.eval.revision
    if revision is None:
        return ""
    changed = " with changes that were not committed" if revision.dirty else ""
    return f"{revision.commit}{changed}"
