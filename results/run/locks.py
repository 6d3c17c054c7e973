"""Allows one run at a time in a log folder: two runs would both pay for the same answers."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from vlmguard.guard.errors import UserError

# Each process that tries the lock empties its file, so another file names the holder.
_LOCK: Final = ".vlmguard.lock"
_HOLDER: Final = ".vlmguard.holder"
_ON_S3: Final = ("s3://", "s3a://")


@contextmanager
def locked(folder: str) -> Iterator[None]:
    """Keep other runs out of a log folder until the block ends, also by an error.

    Args:
        folder: A local folder, which is created, or one on S3. Other URLs, and stores that do not
            know conditional writes, cannot be locked; a warning says so.

    Raises:
        UserError: Another run uses the folder; says which. On S3, also: the store cannot be
            reached, or the lock was lost while the block ran.
    """
    with ExitStack() as held:
        if folder.startswith(_ON_S3):
            # Imported here, since a run in a local folder does without the client of S3.
            from vlmguard.results.run.lock_object import CannotLock
            from vlmguard.results.run.object_lock import object_locked

            try:
                held.enter_context(object_locked(folder, _ourselves()))
            except CannotLock:
                _warn(folder)
        elif "://" in folder and not folder.startswith("file://"):
            _warn(folder)
        else:
            held.enter_context(_locked_here(folder))
        yield


@contextmanager
def _locked_here(folder: str) -> Iterator[None]:
    place = Path(folder.removeprefix("file://"))
    place.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place / _LOCK)
    holder = place / _HOLDER
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(
            f"{folder}: another run is at work in it ({_who(holder)}). Wait for it or stop it; "
            f"or give this run another log_dir:."
        ) from error
    try:
        holder.write_text(f"{_ourselves()}\n")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _warn(folder: str) -> None:
    print(
        f"vlmguard: {folder} cannot be locked, since it is neither local nor in a store of S3 that "
        "knows conditional writes: see that no other run is at work in it, or both will pay for "
        "the same answers.",
        file=sys.stderr,
    )


def _ourselves() -> str:
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    return f"process {os.getpid()} on {socket.gethostname()} since {since}"


def _who(holder: Path) -> str:
    try:
        return holder.read_text().strip()
    except OSError:
        return "it has just begun"
