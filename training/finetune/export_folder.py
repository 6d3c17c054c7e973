"""Checks that there is an export to train on, before any slow import."""

from pathlib import Path

from vlmguard.guard.errors import UserError
from vlmguard.guard.paths import existing


def export_folder(data: str) -> Path:
    """The folder that `data` names.

    Args:
        data: The configuration's `data`.

    Returns:
        The folder, which has the `provenance.json` that `vlmguard export` writes last.

    Raises:
        UserError: No such folder, or one that `vlmguard export` did not write to its end.
    """
    folder = existing(data, "folder", "Write it with `vlmguard export`.")
    if not (folder / "provenance.json").exists():
        raise UserError(
            f"data: {folder / 'provenance.json'} is missing, so nobody knows whether test images "
            "are among the rows. Write the folder with `vlmguard export`."
        )
    return folder
