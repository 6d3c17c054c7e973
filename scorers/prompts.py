"""Reads the user's own prompts for judges: one file, or a folder for a whole task.

A file replaces the prompt of the general judge. A folder replaces any prompts of a task's judges:
`judge.txt` that of the general judge, `NAME.txt` that of a benchmark's own question (the
benchmark's file lists the names). So a user who has the authors' wording can use it.
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
    """The folder that a task's `judge_template` names, if it names one."""
    return template if template is not None and user_path(template).is_dir() else None


def general_file(template: str | None) -> str | None:
    """The file with the general judge's prompt, alone or as `judge.txt` of the folder, or None."""
    if template is None or prompts_folder(template) is None:
        return template
    file = user_path(template) / f"{GENERAL}.txt"
    return str(file) if file.is_file() else None


def files_in(folder: str, names: Collection[str]) -> dict[str, Path]:
    """The prompts in a folder.

    Args:
        folder: The folder.
        names: Names of the prompts of a task's own questions.

    Returns:
        A file for each name that exists, `GENERAL` included.

    Raises:
        UserError: There is no such folder, it is empty, or it has a file of another name, which
            would be ignored.
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
