"""The object of a lock in a store of S3: read and written, each write under a condition."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp
import fsspec
from botocore.exceptions import ClientError
from fsspec.asyn import sync

from vlmguard.guard.errors import UserError, reason_of

__all__ = ["CannotLock", "LockObject", "Refused", "Seen"]

_NAME: Final = ".vlmguard.lock"
# What S3 answers where a condition does not hold, or the object that it is about is gone.
_REFUSALS: Final = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey")


class CannotLock(Exception):
    """The store does not know conditional writes, so no lock in it would hold."""


class Refused(Exception):
    """A condition did not hold: another run has written the lock, or somebody removed it."""


@dataclass(frozen=True)
class Seen:
    """A lock as the store has it.

    Attributes:
        holder: Who wrote it, for messages.
        ours: Whether that were we.
        lasts: Seconds that it lasts after it was written; 0 if it was released.
        version: What a write can be conditional on.
        age: Seconds since it was written, by the store's clock, as those of two machines differ.
    """

    holder: str
    ours: bool
    lasts: float
    version: str
    age: float

    @property
    def ended(self) -> bool:
        """Whether it may be taken."""
        return self.age >= self.lasts


class LockObject:
    """The object that stands for the lock of a folder.

    Args:
        folder: The folder, as `s3://BUCKET/FOLDER`.
        holder: Who we are, for the messages of other runs.
        patience: Seconds after which a request has failed.

    Attributes:
        version: The version that we wrote last; empty as long as there is none.
    """

    def __init__(self, folder: str, holder: str, patience: float) -> None:
        self.version = ""
        self._name = f"{folder.rstrip('/')}/{_NAME}"
        self._holder = holder
        self._patience = patience
        self._token = secrets.token_hex(8)
        self._writes = 0
        # Inspect asks for no cache of listings either.
        self._store, path = fsspec.core.url_to_fs(self._name, use_listings_cache=False)
        bucket, _, key = path.partition("/")
        self._place = {"Bucket": bucket, "Key": key}

    def read(self) -> Seen | None:
        """The lock as it is now; None if there is none.

        Raises:
            UserError: There is something else in its place.
            OSError: The store cannot be reached, refuses us, or its answer is broken.
        """
        try:
            found = self._call("get_object")
        except FileNotFoundError as error:
            if _code(error) == "NoSuchKey":
                return None
            raise
        with _whole():
            text: Any = sync(self._store.loop, found["Body"].read, timeout=self._patience)
            now = parsedate_to_datetime(found["ResponseMetadata"]["HTTPHeaders"]["date"])
            written: datetime = found["LastModified"]
            version: str = found["ETag"]
        try:
            content = json.loads(text)
            return Seen(
                str(content["holder"]),
                content["token"] == self._token,
                float(content["lasts"]),
                version,
                max(0.0, (now - written).total_seconds()),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self._name}: is no lock of ours. Remove it, if no run is at work there."
            ) from error

    def write(self, instead_of: str, lasts: float) -> None:
        """Write the lock.

        Args:
            instead_of: The version that must be there; empty: there may be none.
            lasts: As for `Seen`.

        Raises:
            Refused: Something else is there.
            CannotLock: The store knows no conditions.
            OSError: The store cannot be reached, refuses us, or its answer is broken.
        """
        self._writes += 1  # so that no two versions are alike
        content = {
            "holder": self._holder,
            "token": self._token,
            "lasts": lasts,
            "number": self._writes,
        }
        condition = {"IfMatch": instead_of} if instead_of else {"IfNoneMatch": "*"}
        try:
            written = self._call("put_object", Body=json.dumps(content).encode(), **condition)
        except OSError as error:
            if _code(error) in _REFUSALS:
                raise Refused from error
            if _code(error) == "NotImplemented":
                raise CannotLock from error
            raise
        with _whole():
            self.version = written["ETag"]

    def check_conditions(self, lasts: float) -> None:
        """Refuse a store that ignores conditions: there, two runs would both get the lock.

        Args:
            lasts: As for `write`.

        Raises:
            CannotLock: It does; the lock is removed.
        """
        for wrong in ('"another"', ""):
            with suppress(Refused):
                self.write(wrong, lasts)
                self._call("delete_object")
                raise CannotLock

    def _call(self, operation: str, **options: Any) -> Any:
        return self._store.call_s3(operation, **self._place, **options, timeout=self._patience)


@contextmanager
def _whole() -> Iterator[None]:
    """Raise an OSError where an answer lacks a header, or the end of its body."""
    try:
        yield
    except (aiohttp.ClientError, KeyError) as error:
        raise OSError(f"the store's answer is broken: {reason_of(error)}") from error


def _code(error: OSError) -> str:
    """S3's word for an error."""
    cause = error.__cause__
    return str(cause.response["Error"]["Code"]) if isinstance(cause, ClientError) else ""
