"""Puts a folder of pages in the place of an older one, once all of its files are complete."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from vlmguard.guard.errors import UserError

__all__ = ["staged"]

_LIST: Final = "files.json"
"""Names our files, so that a later run removes those alone."""


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A folder to write into; at the end its files replace ours in the real one.

    Files of others in the real folder stay. A page is put in its place after what it loads.

    Args:
        folder: The real folder; made if it is missing.

    Raises:
        UserError: It cannot be written to.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        waiting = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            yield waiting
            _put(waiting, folder)
        finally:
            shutil.rmtree(waiting, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written to ({error}): choose another place or make it writable."
        ) from error


def _put(waiting: Path, folder: Path) -> None:
    files = sorted(path.relative_to(waiting) for path in waiting.rglob("*") if path.is_file())
    files.sort(key=lambda path: path.suffix == ".html")
    names = [path.as_posix() for path in files]
    stale = set(_ours(folder)) - set(names)
    # Until all is done the list names old and new files: a run that is stopped leaves none behind.
    folder.mkdir(exist_ok=True)
    _note(folder, [*names, *stale])
    for path in files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        os.chmod(waiting / path, 0o644)
        os.replace(waiting / path, folder / path)
    for name in stale:
        (folder / name).unlink(missing_ok=True)
    _note(folder, names)
    for inside in (folder / "data", folder / "images"):
        if inside.is_dir() and not any(inside.iterdir()):
            inside.rmdir()


def _note(folder: Path, names: list[str]) -> None:
    handle, path = tempfile.mkstemp(dir=folder, prefix=f".{_LIST}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(sorted(names), file, indent=0)
    os.chmod(path, 0o644)
    os.replace(path, folder / _LIST)


def _ours(folder: Path) -> list[str]:
    """Files that an earlier run left; names that lead out of the folder are not ours."""
    listed = folder / _LIST
    if not listed.is_file():
        return []
    try:
        names = json.loads(listed.read_text(encoding="utf-8"))
    except ValueError:
        return []
    inside = folder.resolve()
    return [
        name
        for name in names
        if isinstance(name, str) and (folder / name).resolve().is_relative_to(inside)
    ]
