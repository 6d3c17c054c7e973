"""Judges' prompts that a user brings, in place of ours: one file, or a folder for a whole task.

A file replaces the prompt of the general judge. A folder replaces any prompts of a task's judges:
`judge.txt` the general judge's, `NAME.txt` that of a benchmark's own question (the benchmark's file
lists its names). So who has the wording of a benchmark's authors can use it.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Final

from vlmguard.guard.errors import UserError
from vlmguard.guard.paths import user_path

__all__ = ["GENERAL", "files_in", "general_file", "prompts_folder"]

GENERAL: Final = "judge"
"""Name of the general judge's prompt in a folder."""


def prompts_folder(template: str | None) -> str | None:
    """The folder with prompts, where a task's `judge_template` names one.

    Args:
        template: A file, a folder, or None.

    Returns:
        The folder as it was given; None for anything else.
    """
    return template if template is not None and user_path(template).is_dir() else None


def general_file(template: str | None) -> str | None:
    """The file with the general judge's prompt.

    Args:
        template: A file, a folder, or None.

    Returns:
        The file itself, or `judge.txt` of the folder; None where there is none.
    """
    if template is None or prompts_folder(template) is None:
        return template
    file = user_path(template) / f"{GENERAL}.txt"
    return str(file) if file.is_file() else None


def files_in(folder: str, names: Collection[str]) -> dict[str, Path]:
    """The prompts in a folder.

    Args:
        folder: The folder.
        names: Names of the prompts that a task's own questions have.

    Returns:
        A file for each name that is there, `GENERAL` included.

    Raises:
        UserError: There is no such folder, nothing in it, or a file of another name, which would
            be passed over.
    """
    place = user_path(folder)
    known = [f"{name}.txt" for name in (*names, GENERAL)]
    if not place.is_dir():
        raise UserError(
            f"{folder}: no such folder. Prompts are read from files in it: {', '.join(known)}."
        )
    files = sorted(each for each in place.iterdir() if not each.name.startswith("."))
    strange = [each.name for each in files if each.name not in known]
    if strange or not files:
        what = f"holds {', '.join(strange)}" if strange else "is empty"
        raise UserError(
            f"The folder of prompts {folder} {what}. The prompts that can be replaced here are "
            f"{', '.join(known)}."
        )
    return {each.stem: each for each in files}
