"""The folder of what is kept for later: files of this user alone, each written at once or not."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Final

from platformdirs import user_cache_path

from vlmguard.guard.package import PACKAGE
from vlmguard.guard.paths import user_path

__all__ = ["FOLDER", "MOST_BYTES", "CacheFolder", "cache_folder", "without_cache"]

MOST_BYTES: Final = 1_000_000_000
"""The most bytes of the cache; then what was not used for the longest time goes."""

FOLDER: Final = "VLMGUARD_LOG_CACHE"
"""The variable that names another folder for it."""

_unused: ContextVar[bool] = ContextVar("unused", default=False)


@contextlib.contextmanager
def without_cache(really: bool = True) -> Iterator[None]:
    """Read all logs anew in this block, and keep nothing of them."""
    token = _unused.set(really)
    try:
        yield
    finally:
        _unused.reset(token)


def cache_folder() -> "CacheFolder | None":
    """The cache in the user's folder or that of `FOLDER`; None in a block `without_cache`."""
    if _unused.get():
        return None
    chosen = os.environ.get(FOLDER)
    return CacheFolder(user_path(chosen) if chosen else user_cache_path(PACKAGE) / "logs")


class CacheFolder:
    """Files by name.

    Args:
        path: The folder; made when something is kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._wrote = False

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return (self.path / name).is_file()

    def read(self, name: str) -> bytes | None:
        """What a file holds; None if there is none, or if another user wrote it."""
        place = self.path / name
        try:
            with place.open("rb") as file:
                # In a folder that others may write to, theirs could say anything.
                if sys.platform != "win32" and os.fstat(file.fileno()).st_uid != os.getuid():
                    return None
                content = file.read()
        except OSError:
            return None
        with contextlib.suppress(OSError):
            os.utime(place)
        return content

    def write(self, name: str, content: bytes) -> None:
        """Keep a file, whole, for its owner alone; raises OSError."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, made = tempfile.mkstemp(dir=self.path, prefix="new-")
        try:
            with open(handle, "wb") as file:
                file.write(content)
            os.replace(made, self.path / name)
        except BaseException:
            Path(made).unlink(missing_ok=True)
            raise
        self._wrote = True

    def tidy(self, most: int = MOST_BYTES) -> None:
        """Remove what was not used for the longest time, if something was added and it is much."""
        if not self._wrote:
            return
        with contextlib.suppress(OSError), os.scandir(self.path) as entries:
            files = [(each.stat().st_mtime, each.stat().st_size, each.path) for each in entries]
            total = sum(size for _, size, _ in files)
            for _, size, place in sorted(files):
                if total <= most:
                    break
                Path(place).unlink(missing_ok=True)
                total -= size
