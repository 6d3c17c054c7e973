"""Reads the user's own prompts for judges: one file, or a folder for a whole task.

A file replaces the prompt of the general judge. A folder replaces any prompts of a task's judges:
`judge.txt` that of the general judge, `NAME.txt` that of a benchmark's own question (the
benchmark's file lists the names). So a user who has the authors' wording can use it.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Final

from vlmguard.guard.paths import user_path
from vlmguard.guard.templates import prompt_files

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
        UserError: As for `prompt_files`.
    """
    return prompt_files(folder, (*names, GENERAL))
