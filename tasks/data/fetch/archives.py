"""Unpacks the archives of a benchmark: whole files only, and nothing outside their folder."""

import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Final

from vlmguard.guard.errors import UserError, reason_of, short
from vlmguard.tasks.data.fetch.places import Places

__all__ = ["ARCHIVES", "unpack"]

ARCHIVES: Final = (".zip", ".tar", ".tar.gz", ".tgz")
"""Endings of the names of archives that are unpacked."""


@dataclass(frozen=True)
class _Entry:
    name: str
    size: int
    plain: bool
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, at: Places, under: str = "") -> tuple[str, ...]:
    """Unpack an archive; a second call continues a first one that was cut off.

    Args:
        archive: A file with one of the endings `ARCHIVES`.
        at: Where its files go; those that exist there stay as they are.
        under: Folder in it that the archive's paths are relative to.

    Returns:
        Its files, relative to the folder.

    Raises:
        UserError: Damaged, larger than the room on the disk, or an entry leaves the folder or is a
            link; no file of such an archive is written.
        OSError: A file cannot be written.
    """
    part = at.beside / f".unpacking-{os.getpid()}"
    try:
        with _entries(archive) as entries:
            names = {entry: _name(archive, entry, at, under) for entry in entries}
            missing = {entry: name for entry, name in names.items() if not at.there(name)}
            _check_room(archive, at, sum(entry.size for entry in missing))
            for entry, name in missing.items():
                content = entry.open()
                assert content is not None, "only plain files have come so far"
                with content, part.open("wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
                at.put(part, name)
            return tuple(names.values())
    # RuntimeError: a password; NotImplementedError (one of these): packed in an unknown way.
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError) as error:
        raise UserError(
            f"{archive}: cannot be unpacked ({reason_of(error)}). Delete it and run again."
        ) from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _entries(archive: Path) -> Iterator[list[_Entry]]:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as bundle:
            yield [
                _Entry(
                    info.filename,
                    info.file_size,
                    not stat.S_ISLNK(info.external_attr >> 16),
                    partial(bundle.open, info),
                )
                for info in bundle.infolist()
                if not info.is_dir()
            ]
    else:
        with tarfile.open(archive) as tar:
            yield [
                _Entry(info.name, info.size, info.isfile(), partial(tar.extractfile, info))
                for info in tar
                if not info.isdir()
            ]


def _name(archive: Path, entry: _Entry, at: Places, under: str) -> str:
    if not entry.plain:
        raise UserError(
            f"{archive}: the entry {short(entry.name)} is a link or a device, which data have no "
            f"need of. Nothing was unpacked: look at the archive, and unpack it by hand."
        )
    try:
        at.check(entry.name)
    except UserError as error:
        raise UserError(f"{archive}: nothing was unpacked. {error}") from error
    return f"{under}/{entry.name}" if under else entry.name


def _check_room(archive: Path, at: Places, needed: int) -> None:
    if needed > (free := shutil.disk_usage(at.folder).free):
        raise UserError(
            f"{archive}: its files need {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free. "
            f"Make room, and run the command again."
        )
