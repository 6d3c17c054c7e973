"""The folder of a cluster of our own: Ray's sockets, logs and token, gone when the run ends."""

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

__all__ = ["own_folder", "remove_left_behind"]

_PREFIX: Final = "vlmguard-ray-"
_LOCK: Final = ".held"
_YOUNG: Final = 600.0
"""Seconds in which a folder without a lock may still be one that is just made."""
_PATH: Final = "RAY_AUTH_TOKEN_PATH"
_MODE: Final = "RAY_AUTH_MODE"
# One for each process, since Ray keeps the first one that it has read.
_TOKEN: Final = secrets.token_hex(32)


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder for a cluster that ends with the block.

    Ray asks for a token by itself, and would write it to `~/.ray`, readable for all. There it
    would change each later cluster of this user: a head that finds a token asks for it.
    """
    # Not below TMPDIR, which may be long: Ray's sockets are there, whose paths have at most 107
    # letters.
    default = "/tmp" if os.name == "posix" else tempfile.gettempdir()
    parent = Path(os.environ.get("RAY_TMPDIR") or default)
    remove_left_behind(parent)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    before = {name: os.environ.get(name) for name in (_PATH, _MODE)}
    try:
        with FileLock(folder / _LOCK):
            if not {"RAY_AUTH_TOKEN", _PATH} & os.environ.keys():
                token = folder / "auth_token"
                token.touch(mode=0o600)
                token.write_text(_TOKEN)
                os.environ[_PATH] = str(token)
            yield folder
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)


def remove_left_behind(parent: Path) -> None:
    """Remove the folders of processes that were killed; those of others are not ours to remove.

    Args:
        parent: Where folders of clusters are made.
    """
    for folder in parent.glob(f"{_PREFIX}*"):
        try:
            if time.time() - folder.stat().st_mtime < _YOUNG:
                continue
            with FileLock(folder / _LOCK, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except (Timeout, OSError):
            # It is in use, of another user, or just removed.
            continue
