"""Makes the calls of target and judges in the second stage: each is paid for once, some may fail.

Each reply is kept on the disk, one per line, under a digest of all inputs that decide it. A resumed
run reads it from there: it pays for no call twice and gets the same rewards as before, even if
target and judges would reply differently now.

A failed call is one that raises after the retries of Inspect's provider. It says nothing about a
rewrite, is counted, and is not kept, so that it is made again when the rewrite occurs again. If
more than a given share of the last `WINDOW` calls failed, no more calls are made.
"""

import hashlib
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vlmguard.guard.errors import UserError, cause_of, reason_of
from vlmguard.guard.redaction import redact_text

logger = logging.getLogger(__name__)

WINDOW: Final = 200
"""Number of last calls among which a share may fail."""


@dataclass(frozen=True)
class Said:
    """What a model said.

    Attributes:
        kind: Kind of the output by `read_output`: `answer`, `cut_off`, `refusal` or `no_answer`.
        text: Its text; may be empty.
    """

    kind: str
    text: str


class Calls:
    """Makes each call once.

    Args:
        folder: Folder for the replies, with a file for each process; None keeps none.
        share: Share of the last calls that may fail, 0 to 1.
        process: Number of this process.

    Raises:
        UserError: The replies there cannot be read.
    """

    def __init__(self, folder: Path | None, share: float, process: int = 0) -> None:
        self.failed = 0
        self._share = share
        self._last: deque[bool] = deque(maxlen=WINDOW)
        self._reason = ""
        self._file = folder / f"process-{process}.jsonl" if folder else None
        self._known = _read(folder) if folder else {}

    @property
    def trouble(self) -> str | None:
        """Why no more calls are made, or None."""
        failed = sum(self._last)
        if failed <= self._share * WINDOW:
            return None
        return (
            f"{failed} of the last {len(self._last)} calls failed, and failed_calls="
            f"{self._share:g} allows {int(self._share * WINDOW)} of {WINDOW}. The last: "
            f"{self._reason}."
        )

    async def said(
        self, by: str, about: dict[str, Any], call: Callable[[], Awaitable[Said]]
    ) -> Said | None:
        """A model's reply, from the disk if it is there.

        Args:
            by: The role that is called.
            about: All inputs that decide the reply, JSON-like; `row` and `rewrite` are stored too.
            call: Makes the call.

        Returns:
            The reply; None if the call failed, or if no more calls are made.

        Raises:
            UserError: A model that cannot be called, or a reply that cannot be stored.
        """
        text = json.dumps({"by": by, **about}, sort_keys=True, default=str)
        key = hashlib.sha256(text.encode()).hexdigest()
        if key in self._known:
            return self._known[key]
        if self.trouble:
            return None
        try:
            said = await call()
        except UserError:
            raise
        except Exception as error:  # each provider has its own errors
            self._fail(by, error)
            return None
        self._last.append(False)
        self._known[key] = said
        self._write({"key": key, "by": by, "row": about["row"], "rewrite": about["rewrite"]}, said)
        return said

    def _fail(self, by: str, error: Exception) -> None:
        self.failed += 1
        self._last.append(True)
        cause = cause_of(error)
        self._reason = redact_text(f"{by}: {type(cause).__name__}: {reason_of(cause)}")
        logger.warning("A call failed. %s", self._reason)

    def _write(self, head: dict[str, str], said: Said) -> None:
        if self._file is None:
            return
        line = json.dumps({**head, "kind": said.kind, "text": said.text}) + "\n"
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise UserError(
                f"{self._file} cannot be written to ({reason_of(error)}), and what it should hold "
                "has been paid for. Make room, and start the same command again."
            ) from error


def _read(folder: Path) -> dict[str, Said]:
    known = {}
    for file in sorted(folder.glob("*.jsonl")):
        try:
            data = file.read_bytes()
            if data and not data.endswith(b"\n"):  # a kill cut the last line
                with file.open("ab") as end:
                    end.write(b"\n")
        except OSError as error:
            raise UserError(f"{file} cannot be read ({reason_of(error)}).") from error
        unread = 0
        for line in data.splitlines():
            try:
                entry = json.loads(line)
                known[str(entry["key"])] = Said(str(entry["kind"]), str(entry["text"]))
            except (ValueError, KeyError, TypeError):
                unread += 1
        if unread:
            logger.warning("%s: %d lines cannot be read; that is asked again.", file, unread)
    return known
