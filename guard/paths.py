"""Paths as users and records name them."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from vlmguard.guard.errors import UserError, reason_of, short

__all__ = ["leaves", "model_path", "user_path"]

# Inspect changes into the task file's folder before it calls the task, so a
# relative path in `-T data_dir=` would be looked for there. This module is
# imported through the entry point, when the folder is still the user's.
_START: Final = Path.cwd()


def user_path(typed: object) -> Path:
    """Resolve a path that a user typed, wherever Inspect has gone since.

    Args:
        typed: Path; `~` is expanded.

    Returns:
        The absolute path: below the current folder if it exists there, else
        below the folder that the process was started in.

    Raises:
        UserError: It is no text, holds a NUL character, is too long, or names the home of a
            user who is not there.
    """
    if not isinstance(typed, str | os.PathLike):
        raise UserError(f"{typed!r} is no path. Write it as text, in quotes if need be.")
    name = os.fspath(typed)
    _check(name, name)
    try:
        path = Path(name).expanduser()
        return path.absolute() if path.exists() else _START / path
    except (OSError, RuntimeError) as error:  # The last for `~nobody`.
        raise UserError(f"{short(name)}: cannot be a path here ({reason_of(error)}).") from error


def model_path(typed: str) -> Path:
    """Resolve the folder of a local model as it stands behind the slash of its provider.

    The first slash of an absolute path is easily taken for that one: `hf-vlm/data/model` names
    `/data/model` where there is no `data/model` below the current folder.

    Args:
        typed: Path.

    Returns:
        As `user_path`, or the absolute path if a checkpoint (`config.json`) lies there alone.

    Raises:
        UserError: As for `user_path`.
    """
    path = user_path(typed)
    rooted = Path("/", typed)
    if not path.exists() and "/" in typed and (rooted / "config.json").is_file():
        return rooted
    return path


def leaves(folder: Path, path: Path, record: str) -> bool:
    """Whether a path that a record names lies outside a folder, symbolic links followed.

    Args:
        folder: The folder, resolved.
        path: The path.
        record: Name of the record, for the message.

    Returns:
        Whether it leaves the folder.

    Raises:
        UserError: The path holds a NUL character, is too long, or is a loop of links.
    """
    _check(str(path), record)
    try:
        # By itself resolve() passes over what is too long, and from Python 3.13 over loops.
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
        return not path.resolve().is_relative_to(folder)
    except (OSError, RuntimeError) as error:  # The last for a loop of links.
        raise UserError(
            f"{record}: {short(path)} cannot be followed ({reason_of(error)}). Put the file "
            f"itself into the folder."
        ) from error


def _check(name: str, record: str) -> None:
    if "\0" in name:
        raise UserError(f"{short(record)}: a path holds a NUL character. Correct it.")
