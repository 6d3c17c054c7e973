"""Removes secrets from all that a command prints, from our code and from libraries."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TextIO

from vlmguard.guard.redaction import redact_text

__all__ = ["redacted_output"]


@contextmanager
def redacted_output() -> Iterator[None]:
    """Hide the secrets in everything that is printed in this block."""
    with (
        redirect_stdout(_Redacting(sys.stdout)),
        redirect_stderr(_Redacting(sys.stderr)),
    ):
        yield


class _Redacting(io.TextIOBase):
    """A stream that redacts each piece written, and passes it on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(redact_text(text))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    # Typeshed has attributes here, which can be set. In this stream they are only read.
    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._stream.errors
