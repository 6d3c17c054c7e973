"""Writes results so that a failure leaves no file half written."""

import os
import tempfile
from pathlib import Path

from vlmguard.guard.errors import UserError


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Write files into a folder: all are complete on disk before the first is replaced.

    Args:
        folder: Made if it is missing.
        files: Content by name.

    Raises:
        UserError: The folder cannot be written to. The message names the files that were replaced
            before the failure, usually no file.
    """
    waiting: dict[str, str] = {}
    replaced: list[str] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            handle, path = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
            waiting[name] = path
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(path, 0o644)
        blocked = [name for name in files if (folder / name).is_dir()]
        if blocked:
            raise IsADirectoryError(f"{folder / blocked[0]} is a folder")
        for name, path in waiting.items():
            os.replace(path, folder / name)
            replaced.append(name)
    except OSError as error:
        for path in waiting.values():
            Path(path).unlink(missing_ok=True)
        # Files that are already replaced cannot be restored: their old content is lost.
        done = f"Only {', '.join(replaced)} of {len(files)} files" if replaced else "Nothing"
        raise UserError(
            f"{folder} cannot be written to ({error}). {done} was overwritten; choose another "
            f"place or make it writable."
        ) from error


def write_file(path: Path, content: str) -> None:
    """Write one text file, complete or not at all.

    Raises:
        UserError: It cannot be written.
    """
    write_files(path.parent, {path.name: content.encode()})
