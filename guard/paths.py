"""Resolves paths that users and records name."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.errors import MissingFile, UserError, reason_of, short

__all__ = ["existing", "inside", "leaves", "missing", "model_path", "user_path"]

# Inspect changes into the task file's folder before it calls the task, and would look there for a
# relative path in `-T data_dir=`. The entry point imports this module earlier, while the current
# folder is still the user's.
_START: Final = Path.cwd()
_MOST: Final = 10_000
"""Names of a folder that are compared with a misspelt one."""


def user_path(typed: object) -> Path:
    """Resolve a path that a user typed, although Inspect may have changed the folder since.

    Args:
        typed: Path; `~` is expanded.

    Returns:
        The absolute path: below the current folder if it exists there, else
        below the folder that the process was started in.

    Raises:
        UserError: It is not text, holds a NUL character, is too long, or names the home of an
            unknown user.
    """
    if not isinstance(typed, str | os.PathLike):
        raise UserError(f"{typed!r} is no path. Write it as text, in quotes if need be.")
    name = os.fspath(typed)
    _check(name, name)
    try:
        path = Path(name).expanduser()
        return path.absolute() if path.exists() else _START / path
    except (OSError, RuntimeError) as error:  # RuntimeError: `~nobody`
        raise UserError(f"{short(name)}: cannot be a path here ({reason_of(error)}).") from error


def existing(typed: object, what: str = "file", way_out: str = "") -> Path:
    """Resolve a path that a user typed, and that must be there.

    Args:
        typed: Path, as for `user_path`.
        what: What it must be, for the message: `file`, `folder`, or `file or folder`.
        way_out: Last sentence of an error.

    Returns:
        The absolute path.

    Raises:
        UserError: As for `user_path`, or it is a file where a folder is needed, or the reverse.
        MissingFile: There is nothing of that name.
    """
    path = user_path(typed)
    end = f" {way_out}" if way_out else ""
    if not path.exists():
        raise MissingFile(f"{missing(path, what)}{end}")
    if what == "file" and path.is_dir():
        raise UserError(f"{short(path)} is a folder. Name a file in it.{end}")
    if what == "folder" and not path.is_dir():
        raise UserError(f"{short(path)} is a file. Name a folder.{end}")
    return path


def missing(path: Path, what: str = "file") -> str:
    """Say that something is not there, where that was, and what is called almost like it.

    Args:
        path: The absolute path.
        what: What was looked for.
    """
    # The first part of the path that is not there: what follows cannot be there either.
    absent = path
    while not absent.parent.exists():
        absent = absent.parent
    try:
        beside = sorted(os.listdir(absent.parent))[:_MOST]
    except OSError:
        beside = []  # a file, or a folder that may not be listed, has nothing to propose
    notes = [] if absent == path else [f"there is no {short(absent.name)}"]
    name = path
    if path.is_relative_to(_START):
        name = path.relative_to(_START)
        notes.append(f"in {_START}")
    where = f" ({', '.join(notes)})" if notes else ""
    return f"no such {what}: {short(name)}{where}.{did_you_mean(absent.name, beside)}"


def model_path(typed: str) -> Path:
    """Resolve the folder of a local model, as it is written after `hf-vlm/` and the like.

    Users easily omit the first slash of an absolute path: `hf-vlm/data/model` means `/data/model`
    if there is no `data/model` below the current folder.

    Returns:
        As `user_path`, or the absolute path if only that one holds a checkpoint (`config.json`).

    Raises:
        UserError: As for `user_path`.
    """
    path = user_path(typed)
    rooted = Path("/", typed)
    if not path.exists() and "/" in typed and (rooted / "config.json").is_file():
        return rooted
    return path


def inside(folder: Path, name: str, record: str) -> Path:
    """The path of a file that a record names, which may not be outside a folder.

    Args:
        folder: The folder.
        name: The file's path, relative to the folder.
        record: Name of the record, for the message.

    Raises:
        UserError: As for `leaves`, or the path leaves the folder.
    """
    path = folder / name
    if leaves(folder.resolve(), path, record):
        raise UserError(f"{record}: the path {name} leaves {folder}. Put the file itself inside.")
    return path


def leaves(folder: Path, path: Path, record: str) -> bool:
    """Whether a path that a record names is outside a folder, after symbolic links are followed.

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
        # Without `strict`, resolve() ignores paths that are too long, and from Python 3.13 also
        # loops.
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
        return not path.resolve().is_relative_to(folder)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise UserError(
            f"{record}: {short(path)} cannot be followed ({reason_of(error)}). Put the file "
            f"itself into the folder."
        ) from error


def _check(name: str, record: str) -> None:
    if "\0" in name:
        raise UserError(f"{short(record)}: a path holds a NUL character. Correct it.")
