"""What Ray prints of its own accord, cut to a line each."""

import io
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Final, TextIO

__all__ = ["shortened"]

_THREADS: Final = "ray_"
_MARKS: Final = re.compile(r"\x1b\[[0-9;]*m|^\(raylet\)\s*")
_DEAD: Final = "Raylet is terminated"


@contextmanager
def shortened() -> Iterator[None]:
    """Cut what Ray's threads print on standard output to a line each, on standard error."""
    with redirect_stdout(_Shortened(sys.stdout)):
        yield


class _Shortened(io.TextIOBase):
    """Standard output, with what Ray says of lost nodes cut to a line.

    A thread of Ray's prints it there, with pages of the state of the node, several times, and
    cannot be told not to. Which cells were lost is said by the run itself.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = ""

    def write(self, text: str) -> int:
        if not threading.current_thread().name.startswith(_THREADS):
            return self._stream.write(text)
        line = _line(text)
        if line and line != self._last:
            self._last = line
            print(line, file=sys.stderr)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    # Typeshed has an attribute here, which can be set. In this stream it is only read.
    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding


def _line(text: str) -> str:
    first = _MARKS.sub("", _MARKS.sub("", text).strip()).partition("\n")[0].strip()
    if first.startswith(_DEAD):
        return "Ray: a node of the cluster has died (its raylet was killed, or crashed)."
    return f"Ray: {first}" if first else ""
