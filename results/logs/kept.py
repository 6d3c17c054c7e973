"""The cache of what was read of each log, so that a log is read once and not at each command.

A log that has changed is read again: its size, the time of its change and its content (the table of
contents of a `.eval` file has a checksum of each part) must be those that were kept, or the tag
that an object store gives its content. So must all that decides what is read: the package's own
files, the versions of what reads beside it, the registered cards, the secrets that are hidden.
"""

import hashlib
import json
import logging
import os
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import fsspec

import vlmguard
from vlmguard.guard.attacks import attack_cards
from vlmguard.guard.cards import cards
from vlmguard.guard.errors import reason_of
from vlmguard.guard.redaction import known_digest
from vlmguard.results.logs.answers import LeftOut
from vlmguard.results.logs.cache_folder import CacheFolder, cache_folder
from vlmguard.results.logs.codec import UNDECODABLE, NotStorable, packed, unpacked
from vlmguard.results.logs.run import Run

__all__ = ["LogCache", "log_cache", "reader_version", "source_digest"]

_LOGGER: Final = logging.getLogger(__name__)
_READERS: Final = ("inspect_ai", "pandas", "numpy", "pydantic")
_SOURCES: Final = (".py", ".json", ".yaml", ".yml")
_END: Final = b"PK\5\6"
_END_BYTES: Final = 22
_LONGEST_COMMENT: Final = 65_535


def log_cache() -> "LogCache | None":
    """The user's cache; None in a block `without_cache`."""
    folder = cache_folder()
    return LogCache(folder) if folder else None


class LogCache:
    """What was read of logs, a file each.

    Args:
        folder: Where the files are.
    """

    def __init__(self, folder: CacheFolder) -> None:
        self._folder = folder
        self._reader = reader_version()
        self._works = True

    def state(self, path: str) -> dict[str, Any] | None:
        """What a log is known by now; None if that cannot be told, and so nothing is kept of it."""
        try:
            known = _state_of_url(path) if "://" in path else _state_of_file(Path(path))
        except Exception as error:  # Each file system's package has its own errors.
            _LOGGER.debug("%s: not looked up in the cache (%s)", path, reason_of(error))
            return None
        return None if known is None else {"path": path, **known, "reader": self._reader}

    def find(self, path: str, state: dict[str, Any]) -> list[Run] | LeftOut | None:
        """What was read of a log in this state; None if it is not known."""
        content = self._folder.read(_name(path))
        if content is None:
            return None
        try:
            head, _, body = content.partition(b"\n")
            return unpacked(body) if json.loads(head) == state else None
        except UNDECODABLE as error:
            _LOGGER.debug("%s: its cache is damaged (%s), written anew", path, reason_of(error))
            return None

    def knows(self, path: str) -> bool:
        """Whether something is kept of a log, of its present state or an older one."""
        return self._folder.has(_name(path))

    def keep(self, path: str, state: dict[str, Any], found: list[Run] | LeftOut) -> None:
        """Keep what was read of a log in this state."""
        # A log that could not be read may be whole in a moment.
        if not self._works or (isinstance(found, LeftOut) and found.__cause__ is not None):
            return
        try:
            content = json.dumps(state).encode() + b"\n" + packed(found)
            self._folder.write(_name(path), content)
        except NotStorable as reason:
            _LOGGER.debug("%s: not kept (%s)", path, reason)
        except OSError as error:
            self._works = False
            _LOGGER.warning(
                "what is read of logs cannot be kept in %s (%s): they are read again each time",
                self._folder.path,
                reason_of(error),
            )

    def tidy(self) -> None:
        """Remove what was not used for the longest time, if it is much."""
        self._folder.tidy()


def _name(path: str) -> str:
    return hashlib.sha256(path.encode(errors="surrogatepass")).hexdigest()[:40]


def reader_version() -> str:
    """A digest of all that decides what is read of a log."""
    facts = [
        source_digest(),
        *(f"{name} {version(name)}" for name in _READERS),
        # Those of a user's own tasks are among them.
        repr(cards()),
        repr(attack_cards()),
        known_digest(),
    ]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]


@lru_cache(maxsize=1)
def source_digest() -> str:
    """A digest of the files of this package."""
    content = hashlib.sha256()
    root = Path(vlmguard.__file__).parent
    # In a working tree the package's folders are links.
    for folder, folders, names in os.walk(root, followlinks=True):
        folders.sort()
        for name in sorted(names):
            if name.endswith(_SOURCES):
                file = Path(folder, name)
                content.update(file.relative_to(root).as_posix().encode() + b"\0")
                content.update(file.read_bytes())
    return content.hexdigest()


def _state_of_file(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        about = os.fstat(file.fileno())
        content = None if path.suffix == ".json" else _table_of_contents(file, about.st_size)
        if content is None:
            file.seek(0)
            content = hashlib.file_digest(file, "sha256").hexdigest()
    return {"size": about.st_size, "changed": about.st_mtime_ns, "content": content}


def _table_of_contents(file: Any, size: int) -> str | None:
    """A digest of a zip file's directory, which has the checksum of each part; None without one."""
    start = max(0, size - _END_BYTES - _LONGEST_COMMENT)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES:
        return None
    length = int.from_bytes(tail[at + 12 : at + 16], "little")
    begin = int.from_bytes(tail[at + 16 : at + 20], "little")
    # Larger files note both elsewhere.
    if begin + length > start + at or 0xFFFFFFFF in (begin, length):
        return None
    file.seek(begin)
    return hashlib.sha256(file.read(length) + tail[at:]).hexdigest()


def _state_of_url(path: str) -> dict[str, Any] | None:
    """The tag of an object's content; None where a store gives none."""
    files, name = fsspec.core.url_to_fs(path)
    # What a client remembers of a folder may be older than the object.
    files.invalidate_cache(name.rpartition("/")[0])
    about = files.info(name)
    tag = about.get("ETag") or about.get("etag") or about.get("md5Hash")
    return None if tag is None else {"size": about.get("size"), "tag": str(tag)}
