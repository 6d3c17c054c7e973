"""Passes on what processes for local models write to standard error.

They write to a pipe of this process, and have nothing open of what it writes to itself: who reads
that to its end, as a program does that captures output, would else wait for their end too.
"""

import os
import sys
import threading
from contextlib import suppress

__all__ = ["Said"]

_AT_ONCE = 65_536


class Said:
    """What several processes say, on the standard error that this process has at that time.

    Attributes:
        number: File descriptor for the standard error of the processes.
    """

    def __init__(self) -> None:
        self._reader, self.number = os.pipe()
        self._thread = threading.Thread(target=self._pass_on, name="hf-vlm_said", daemon=True)
        self._thread.start()

    def complete(self) -> None:
        """All processes have it: it ends with the last of them."""
        os.close(self.number)

    def wait(self, seconds: float) -> None:
        """Wait until all is passed on, after the end of the processes."""
        self._thread.join(seconds)

    def forget(self) -> None:
        """After a fork: leave it to the parent."""
        with suppress(OSError):  # all was passed on
            os.close(self._reader)

    def _pass_on(self) -> None:
        while data := os.read(self._reader, _AT_ONCE):
            with suppress(OSError):  # nobody reads it any more
                while data and sys.__stderr__ is not None:
                    data = data[os.write(2, data) :]
        os.close(self._reader)
