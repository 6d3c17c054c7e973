"""What reading an Inspect log raises that is damaged, cut off, or no log at all."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from zstandard import ZstdError

from vlmguard.guard.errors import UserError, reason_of

__all__ = ["UNREADABLE", "readable"]

UNREADABLE: Final = (
    *(OSError, ValueError, KeyError, IndexError, EOFError, AssertionError, RecursionError),
    *(zipfile.BadZipFile, zlib.error, ZstdError),
)
"""Inspect's errors for such a file."""


@contextmanager
def readable(location: str) -> Iterator[None]:
    """Say of a log that is read in this block that it cannot be, if so.

    Raises:
        UserError: One of `UNREADABLE` was raised; names the log.
    """
    try:
        yield
    except UNREADABLE as error:
        raise UserError(
            f"{location}: cannot be read as a log ({reason_of(error)}). Leave it out, or move it "
            "elsewhere."
        ) from error
