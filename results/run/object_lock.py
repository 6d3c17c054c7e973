"""The lock of a folder on S3, which one run holds and renews while it is at work.

Each write of its object has a condition: `If-None-Match: *` where there is none yet, and else
`If-Match` with the version that was read last. Of two runs that write at once, the store refuses
one. A run that was killed cannot release its lock. It is taken over if nobody has renewed it for
the time that it lasts.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from botocore.exceptions import BotoCoreError

from vlmguard.guard.errors import UserError, reason_of
from vlmguard.results.run.lock_object import LockObject, Refused, Seen

__all__ = ["object_locked"]

_LOGGER: Final = logging.getLogger(__name__)

# A lock is renewed six times before it ends, so a few lost requests do no harm.
_LASTS: Final = 60.0
_RENEWED: Final = 10.0
_PATIENCE: Final = 10.0
"""Seconds that a request may take."""
_LOOKS: Final = 1.0
"""Seconds between two looks at a lock whose holder may be dead."""


@contextmanager
def object_locked(folder: str, holder: str) -> Iterator[None]:
    """Hold the lock of a folder on S3 until the block ends, also by an error.

    Where the lock is lost to another run meanwhile, the block is stopped as by Ctrl-C.

    Args:
        folder: The folder, as `s3://BUCKET/FOLDER`.
        holder: Who we are, for the messages of other runs.

    Raises:
        CannotLock: The store does not know conditional writes.
        UserError: Another run is at work in the folder, the store cannot be reached, or the lock
            was lost.
    """
    lock = _Lock(folder, holder)
    try:
        lock.take()
    except (OSError, BotoCoreError) as error:
        raise UserError(
            f"{folder}: cannot be locked ({reason_of(error)}). Look at the name of the bucket, at "
            "the keys and at the network."
        ) from error
    try:
        with lock.renewed():
            yield
    except KeyboardInterrupt as error:
        if lock.lost:
            raise UserError(lock.lost) from error
        raise
    finally:
        lock.release()
    if lock.lost:
        raise UserError(lock.lost)


class _Lock:
    def __init__(self, folder: str, holder: str) -> None:
        self.lost = ""
        self._folder = folder
        self._object = LockObject(folder, holder, patience=_PATIENCE)
        self._stopped = threading.Event()

    def take(self) -> None:
        """Take the lock: at once where it is free, else if its holder does not renew it."""
        waiting: Seen | None = None
        while not self._object.version:
            seen = self._object.read()
            if seen and seen.ours:  # a write whose reply did not arrive
                self._object.version = seen.version
            elif seen and not seen.ended:
                if waiting is None:
                    self._say(
                        f"locked by {seen.holder}. Waiting at most {seen.lasts - seen.age:.0f} s "
                        "to see whether that run is still at work."
                    )
                elif seen.version != waiting.version:
                    raise self._in_use(seen)
                waiting = seen
                time.sleep(_LOOKS)
            else:
                with suppress(Refused):  # another run was quicker: look at its lock
                    self._object.write(seen.version if seen else "", _LASTS)
                    if seen and seen.lasts:
                        self._say(
                            f"{seen.holder} has not renewed its lock for {seen.age:.0f} s, so it "
                            "was killed or lost its network: its lock is taken over."
                        )
        self._object.check_conditions(_LASTS)

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Renew the lock from a thread until the block ends."""
        thread = threading.Thread(target=self._renew_until_stopped, name="lock", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join()

    def release(self) -> None:
        """Let others have the lock.

        It is not removed: between a look and a removal, which knows no condition, another run may
        take it.
        """
        # What fails here does no harm: the lock ends by itself.
        with suppress(OSError, BotoCoreError, Refused):
            if not self.lost:
                self._object.write(self._object.version, lasts=0)

    def _renew_until_stopped(self) -> None:
        renewed = time.monotonic()
        while not self._stopped.wait(_RENEWED):
            began = time.monotonic()
            try:
                self._renew()
                renewed = began
            except UserError as error:
                self._lose(f"it was overwritten ({error})")
            except Exception as error:
                # One that nobody has foreseen must not end the renewals while the run goes on.
                if not isinstance(error, (OSError, BotoCoreError)):
                    _LOGGER.warning("%s: its lock was not renewed", self._folder, exc_info=True)
                ago = time.monotonic() - renewed
                # Another attempt could end after another run has taken it.
                if ago + _RENEWED + _PATIENCE > _LASTS:
                    self._lose(f"it could not be renewed for {ago:.0f} s ({reason_of(error)})")
            if self.lost:
                # Inspect and Ray take it as Ctrl-C: they keep what is finished, and stop.
                os.kill(os.getpid(), signal.SIGINT)
                return

    def _renew(self) -> None:
        """Write the lock again; notes if another run has it."""
        while True:
            with suppress(Refused):
                self._object.write(self._object.version, _LASTS)
                return
            seen = self._object.read()
            if seen and not seen.ours:
                self._lose(f"{seen.holder} has taken it over")
                return
            # Somebody has removed it, or the reply to a write of ours did not arrive.
            self._object.version = seen.version if seen else ""

    def _lose(self, why: str) -> None:
        self.lost = (
            f"{self._folder}: this run has lost its lock: {why}. It was stopped, so that two runs "
            "do not pay for the same answers. What is finished is kept: run the same command "
            "again when no other run is at work in that folder."
        )

    def _in_use(self, seen: Seen) -> UserError:
        return UserError(
            f"{self._folder}: another run is at work in it ({seen.holder}; its lock was renewed "
            f"{seen.age:.0f} s ago). Wait for it or stop it; or give this run another log_dir:."
        )

    def _say(self, words: str) -> None:
        print(f"vlmguard: {self._folder}: {words}", file=sys.stderr, flush=True)
