"""Where fetched files go: into a benchmark's folder, whole or not at all, and never outside it.

A file is first written into a folder beside (`ROOT/.fetch/NAME`), then renamed. So no half of a
file has its final name, and a file that exists is never replaced.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Final

from filelock import FileLock, Timeout

from vlmguard.guard.errors import UserError, reason_of, short
from vlmguard.guard.paths import inside

__all__ = ["WRITE_FAULTS", "Places", "places", "writing"]

WRITE_FAULTS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
"""Numbers of an `OSError` that tell of the disk, not of the network."""

_BESIDE: Final = ".fetch"


@dataclass(frozen=True)
class Places:
    """The folders of one benchmark while its data are fetched.

    Attributes:
        folder: Where its data are, and go.
        beside: A folder on the same file system for what is not complete yet.
    """

    folder: Path
    beside: Path

    def there(self, name: str) -> bool:
        """Whether a file is in the folder.

        Args:
            name: Its path, relative to the folder and with `/`, as a list or archive names it.

        Raises:
            UserError: The path leaves the folder.
        """
        return self._final(name).exists()

    def put(self, file: Path, name: str) -> None:
        """Move a complete file into the folder; one that exists there stays as it is.

        Args:
            file: The file, on the same file system.
            name: Its path, relative to the folder.

        Raises:
            UserError: The path leaves the folder.
        """
        final = self._final(name)
        if final.exists():
            file.unlink()
            return
        final.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, final)

    def check(self, name: str) -> None:
        """Refuse a path, as a list or an archive names it, that leaves the folder.

        Raises:
            UserError: It is absolute or empty, holds `..`, or leads through a link elsewhere.
        """
        self._final(name)

    def _final(self, name: str) -> Path:
        windows, posix = PureWindowsPath(name), PurePosixPath(name)
        rooted = name.startswith("/") or windows.drive or windows.root
        if rooted or not posix.parts or ".." in (*posix.parts, *windows.parts):
            raise UserError(
                f"The path {short(name)!r} leaves {self.folder}: nothing was written there. Fetch "
                f"the data by hand, and tell their authors."
            )
        return inside(self.folder, name, short(name))


@contextmanager
def places(root: Path, name: str) -> Iterator[Places]:
    """The folders of a benchmark, which nobody else fetches meanwhile; none stays empty.

    Args:
        root: Folder with a folder for each benchmark; made if it is missing.
        name: Name of the benchmark.

    Raises:
        UserError: Another process fetches it, or a file cannot be written.
    """
    at = Places(root / name, root / _BESIDE / name)
    with writing(root):
        at.beside.mkdir(parents=True, exist_ok=True)
        try:
            # Only with the lock: the folders may be empty because another process begins to fetch.
            with (
                FileLock(root / _BESIDE / f"{name}.lock", timeout=0),
                _removed_if_empty(at.beside),
                _removed_if_empty(at.folder),
            ):
                yield at
                shutil.rmtree(at.beside)
        except Timeout as error:
            raise UserError(
                f"{name} is being fetched into {root} by another process. Wait until it is done."
            ) from error
        finally:
            _remove_if_empty(root / _BESIDE)


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Say of files that cannot be written why, and what to do.

    Args:
        place: The folder, for the message.

    Raises:
        UserError: An `OSError` in the block.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        way = "Make room" if full else "Choose another folder with --data-dir, or correct this one"
        where = error.filename or place
        raise UserError(
            f"{short(where)}: cannot be written ({reason_of(error)}). {way}, and run the command "
            f"again: what is there stays."
        ) from error


@contextmanager
def _removed_if_empty(folder: Path) -> Iterator[None]:
    """Make a folder, and remove it after the block if nothing is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        if folder.exists() and not any(folder.iterdir()):
            with suppress(OSError):
                folder.rmdir()


def _remove_if_empty(folder: Path) -> None:
    """Remove the folder unless another benchmark is being fetched, or was cut off."""
    for lock in folder.glob("*.lock"):
        if not lock.with_suffix("").exists():
            lock.unlink(missing_ok=True)
    try:
        folder.rmdir()
    except OSError:
        return
