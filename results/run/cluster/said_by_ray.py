"""What Ray prints of its own accord, cut to a line each."""

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Final, TextIO

from vlmguard.guard.streams import PassedOn

__all__ = ["shortened"]

_THREADS: Final = "ray_"
_MARKS: Final = re.compile(r"\x1b\[[0-9;]*m|^\(raylet\)\s*")
_DEAD: Final = "Raylet is terminated"


@contextmanager
def shortened() -> Iterator[None]:
    """Cut what Ray's threads print on standard output to a line each, on standard error."""
    with redirect_stdout(_Shortened(sys.stdout)):
        yield


class _Shortened(PassedOn):
    """Standard output, with what Ray says of lost nodes cut to a line.

    A thread of Ray's prints it there, with pages of the state of the node, several times, and
    cannot be told not to. Which cells were lost is said by the run itself.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._last = ""

    def write(self, text: str) -> int:
        if not threading.current_thread().name.startswith(_THREADS):
            return self.stream.write(text)
        line = _line(text)
        if line and line != self._last:
            self._last = line
            print(line, file=sys.stderr)
        return len(text)


def _line(text: str) -> str:
    first = _MARKS.sub("", _MARKS.sub("", text).strip()).partition("\n")[0].strip()
    if first.startswith(_DEAD):
        return "Ray: a node of the cluster has died (its raylet was killed, or crashed)."
    return f"Ray: {first}" if first else ""
