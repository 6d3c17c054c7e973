"""What an option counts as in the identity of answers: files and folders by their content."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from vlmguard.guard.errors import UserError
from vlmguard.guard.paths import user_path

__all__ = ["content_of"]

_WHOLE: Final = 1_000_000
"""Files of more bytes, weights above all, count by size and time."""


def content_of(value: object) -> object:
    """An option as it counts.

    Args:
        value: Its value.

    Returns:
        A digest for the name of a file, or of a folder with all that is in it; else the value. Of a
        mapping, each of its values.
    """
    if isinstance(value, Mapping):
        return {name: content_of(each) for name, each in value.items()}
    if not isinstance(value, str):
        return value
    try:
        path = user_path(value)
        if not path.exists():
            return value
    except (OSError, UserError):  # text that cannot be a path
        return value
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    parts = [[str(file.relative_to(path)), _digest(file)] for file in files if file.is_file()]
    return hashlib.sha256(repr(parts).encode("utf-8", "backslashreplace")).hexdigest()


def _digest(file: Path) -> str:
    status = file.stat()
    if status.st_size > _WHOLE:
        return f"{status.st_size} {status.st_mtime_ns}"
    return hashlib.sha256(file.read_bytes()).hexdigest()
