"""The output of a command: without secrets, and ended quietly if its reader has left."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Final, TextIO

from vlmguard.guard.progress import erase_status
from vlmguard.guard.redaction import redact_text

__all__ = ["READER_LEFT", "PassedOn", "command_output"]

READER_LEFT: Final = 141
"""Exit status if the reader of the output left (`| head`), as shells show it: 128 + SIGPIPE."""


@contextmanager
def command_output() -> Iterator[None]:
    """Treat what is printed in this block as a command's output.

    Secrets are hidden. If the reader of standard output leaves, the command ends with
    `READER_LEFT` and without a message, as other tools do; if that of standard error leaves,
    messages are dropped.

    Raises:
        SystemExit: The reader of standard output left.
    """
    with ExitStack() as redirected:
        # A stream is None if the process was started with it closed.
        if sys.stdout is not None:
            redirected.enter_context(redirect_stdout(_Output(sys.stdout, needed=True)))
        if sys.stderr is not None:
            redirected.enter_context(redirect_stderr(_Output(sys.stderr, needed=False)))
        try:
            yield
        finally:
            erase_status()
            # Here and not when Python ends, where a failure becomes a message.
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()


class PassedOn(io.TextIOBase):
    """A stream in front of another one, as which it looks; what is written is up to a subclass.

    Args:
        stream: The other one.

    Attributes:
        stream: The same.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def flush(self) -> None:
        """Write out what is still buffered."""
        self.stream.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """The number of its file."""
        return self.stream.fileno()

    def writable(self) -> bool:
        """True."""
        return True

    # Typeshed has attributes here, which can be set. In this stream they are only read.
    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Its encoding."""
        return self.stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """What happens to letters that its encoding lacks."""
        return self.stream.errors


class _Output(PassedOn):
    """A stream that redacts each piece written, and passes it on."""

    def __init__(self, stream: TextIO, *, needed: bool) -> None:
        super().__init__(stream)
        self._needed = needed

    def write(self, text: str) -> int:
        # A piped result does not stand on the terminal, where what goes on is still to be seen.
        if not self._needed or self.isatty():
            erase_status()
        try:
            self.stream.write(redact_text(text))
        except BrokenPipeError:
            self._reader_left()
        return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            self._reader_left()

    def _reader_left(self) -> None:
        # What is still buffered must go somewhere, or Python would complain when it ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())
        os.close(nowhere)
        if self._needed:
            raise SystemExit(READER_LEFT)
