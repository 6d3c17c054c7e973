"""Allows one run at a time in a log folder: two runs would both pay for the same answers."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from vlmguard.guard.errors import UserError

# Each process that tries the lock empties its file, so another file names the holder.
_LOCK: Final = ".vlmguard.lock"
_HOLDER: Final = ".vlmguard.holder"


@contextmanager
def locked(folder: str) -> Iterator[None]:
    """Keep other runs out of a log folder until the block ends, also by an error.

    Args:
        folder: A local folder, which is created. A URL cannot be locked; a warning says so.

    Raises:
        UserError: Another run uses the folder; says which.
    """
    if "://" in folder and not folder.startswith("file://"):
        print(
            f"vlmguard: {folder} is not local and cannot be locked: see that no other run is at "
            f"work in it, or both will pay for the same answers.",
            file=sys.stderr,
        )
        yield
        return
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
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()} since {since}\n")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _who(holder: Path) -> str:
    try:
        return holder.read_text().strip()
    except OSError:
        return "it has just begun"
