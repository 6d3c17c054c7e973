"""What options count as in the identity of answers and of rows: files by their content."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from vlmguard.guard.data_source import file_hash
from vlmguard.guard.errors import UserError
from vlmguard.guard.paths import user_path
from vlmguard.guard.templates import template_hash

__all__ = ["content_of", "file_named", "files_digest"]

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
    path = _existing(value)
    if path is None:
        return value
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    parts = [[str(file.relative_to(path)), _digest(file)] for file in files if file.is_file()]
    return hashlib.sha256(repr(parts).encode("utf-8", "backslashreplace")).hexdigest()


def file_named(value: object) -> Path | None:
    """The file that an option names; None for a folder, and for what names nothing."""
    path = _existing(value) if isinstance(value, str) else None
    return path if path is not None and path.is_file() else None


def files_digest(options: Mapping[str, object]) -> str:
    """Identity of the files that options name, by their content.

    A record has it where a path alone would stay the same while the file is edited. Folders do not
    count: those of prompts are in the hash of templates, and checkpoints count by name, as the
    models in roles do.

    Args:
        options: Values by name, nested to any depth.

    Returns:
        12 hex digits; empty if they name no file.
    """
    named = [f"{place}={file_hash(file)}" for place, file in _files(options)]
    return template_hash(*named) if named else ""


def _files(options: Mapping[str, object], within: str = "") -> Iterator[tuple[str, Path]]:
    for name, value in sorted(options.items()):
        if isinstance(value, Mapping):
            yield from _files(value, f"{within}{name}.")
        elif file := file_named(value):
            yield f"{within}{name}", file


def _existing(text: str) -> Path | None:
    try:
        path = user_path(text)
        return path if path.exists() else None
    except (OSError, UserError):  # text that cannot be a path
        return None


def _digest(file: Path) -> str:
    status = file.stat()
    if status.st_size > _WHOLE:
        return f"{status.st_size} {status.st_mtime_ns}"
    return hashlib.sha256(file.read_bytes()).hexdigest()
