"""`--record DIR`: keeps what was asked and what the guard decided, for replay and for training.

Off unless asked for, and only together with `--log-content`: a recording is the users' own words
and pictures. A client that sends the header `x-vlmguard-no-record` is never recorded. Files are
readable by their owner alone. No header, key or address of a client is kept, and what looks like a
key in a text is hidden.

A thread of its own writes, so that no request waits for the disk. What would make it fall behind by
more than `WAITING` bytes is dropped and counted, never kept in memory. Each process has files of
its own; a line is written by one call, and after a write that failed a new file is begun, so that a
crash or a full disk costs one line at the end of a file, which `vlmguard.guard.recordings` reports.
"""

import base64
import binascii
import hashlib
import logging
import os
import queue
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from uuid import uuid4

from inspect_ai.model import ChatMessageAssistant, ChatMessageUser

from vlmguard.guard.decision import Decision
from vlmguard.guard.defense.conversation import Conversation
from vlmguard.guard.errors import UserError, reason_of
from vlmguard.guard.messages import images_of
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.recordings import (
    FORMAT,
    IMAGES,
    OTHERS,
    ROWS,
    Plain,
    RecordedRequest,
)
from vlmguard.guard.serving.logs import logged

__all__ = ["NO_RECORD", "Counted", "Recorder", "declined"]

NO_RECORD: Final = "x-vlmguard-no-record"
"""The header of requests that are not to be recorded, whatever its value."""

WAITING: Final = 64_000_000
"""The most bytes that may wait to be written; more is dropped."""
LEAST_FREE: Final = 1_000_000_000
"""Nothing is recorded while fewer bytes are free on the disk."""
PATIENCE: Final = 10.0
"""Seconds that the writing of what waits may take at the end."""
LARGEST: Final = 500_000_000
"""Bytes of a file after which another is begun: what reads it refuses larger ones than 2 GB."""

Counted = Literal["recorded", "declined", "dropped", "failed"]
"""What may become of a request: written; not wanted (`x-vlmguard-no-record`); dropped, since the
disk is slower than the traffic or nearly full; or not written because of an error.
"""

_SUFFIXES: Final = (
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"GIF8", ".gif"),
)


def declined(*sources: Mapping[str, str] | Collection[str]) -> bool:
    """Whether a client does not want its request to be recorded.

    Args:
        *sources: Headers of the request, or names of headers: those of HTTP, and those that a
            gateway tells of. The value does not matter, since gateways hide it.
    """
    return any(name.lower() == NO_RECORD for headers in sources for name in headers)


@dataclass(frozen=True)
class _Waiting:
    """A request that waits to be written."""

    request_id: str
    came: float
    conversation: Conversation
    decision: Decision
    record: DefenseRecord
    answer: Callable[[], str | None] | None
    shadow: bool
    size: int


class Recorder:
    """Writes recordings of one process.

    Args:
        folder: Where to write; made with mode 0700 if it is missing.
        told: Is called with what became of each request.

    Raises:
        UserError: The folder cannot be written to, or others than its owner may read it.
    """

    def __init__(self, folder: Path, told: Callable[[Counted], None] = lambda what: None) -> None:
        self.folder = _private(folder)
        self._told = told
        self.counts: Counter[Counted] = Counter()
        """What became of the requests so far."""
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._waiting = 0
        self._lock = threading.Lock()
        self._files: dict[str, _File] = {}
        self._thread = threading.Thread(target=self._write_all, name="recorder", daemon=True)
        self._thread.start()

    def record(
        self,
        request_id: str,
        conversation: Conversation,
        decision: Decision,
        record: DefenseRecord,
        answer: Callable[[], str | None] | None = None,
        shadow: bool = False,
        size: int = 0,
    ) -> None:
        """Keep a request; returns at once.

        Args:
            request_id: Its id, unique among all workers.
            conversation: What the client sent, as the guard got it.
            decision: What was decided about the request, before any answer.
            record: The record of the defense.
            answer: Reads the answer without the guard, in shadow mode.
            shadow: Whether nothing was changed.
            size: Bytes of the answer.
        """
        texts = sum(len(message.text) for message in conversation.messages)
        size += 1_000 + texts + sum(map(len, images_of(conversation.messages)))
        with self._lock:
            fits = self._waiting + size <= WAITING
            self._waiting += size if fits else 0
        if not fits:
            self._count("dropped")
            return
        self._queue.put(
            _Waiting(request_id, time.time(), conversation, decision, record, answer, shadow, size)
        )

    def decline(self) -> None:
        """Count a request whose client does not want it to be recorded."""
        self._count("declined")

    def close(self) -> None:
        """Write what waits, and stop; what takes longer than `PATIENCE` is dropped."""
        self._queue.put(None)
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            waiting = self._queue.qsize()
            logged({"recording": "stopped before all was written", "lost": waiting}, logging.ERROR)

    def _count(self, what: Counted) -> None:
        with self._lock:
            self.counts[what] += 1
        self._told(what)

    def _write_all(self) -> None:
        while (waiting := self._queue.get()) is not None:
            try:
                self._count(self._write(waiting))
            # The thread must outlive any single request; its content is not in the message.
            except Exception as error:
                self._count("failed")
                if self.counts["failed"] == 1:
                    why = reason_of(error) if isinstance(error, OSError) else type(error).__name__
                    said = "a request was not recorded; further ones are counted only"
                    logged({"recording": said, "why": why}, logging.WARNING)
            finally:
                with self._lock:
                    self._waiting -= waiting.size
        for file in self._files.values():
            file.close()

    def _write(self, waiting: _Waiting) -> Counted:
        if shutil.disk_usage(self.folder).free < LEAST_FREE:
            return "dropped"
        conversation = waiting.conversation
        uris = dict.fromkeys(images_of(conversation.messages))
        pictures = {uri: file for uri in uris if (file := self._picture(uri))}
        plain, skipped = Plain(pictures), waiting.record.skipped
        answer = waiting.answer() if waiting.answer is not None else None
        picture = "" if skipped else _only_picture(conversation, pictures)
        row = RecordedRequest(
            format=FORMAT,
            id=waiting.request_id,
            time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(waiting.came)),
            image=picture or None,
            image_id=picture or None,
            prompt=plain.text(conversation.text),
            messages=plain.messages(conversation.messages),
            elsewhere=list(conversation.elsewhere),
            decision=plain.decision(waiting.decision, skipped),
            answer=plain.text(answer) if answer is not None else None,
            shadow=waiting.shadow,
            defense=waiting.record.defense,
            version=waiting.record.version,
            template=waiting.record.template,
        )
        line = row.model_dump_json(exclude_none=True).encode() + b"\n"
        self._append(ROWS if picture else OTHERS, line)
        return "recorded"

    def _append(self, kind: str, line: bytes) -> None:
        if kind in self._files and self._files[kind].size > LARGEST:
            self._files.pop(kind).close()
        if kind not in self._files:
            self._files[kind] = _File(self.folder, kind)
        try:
            self._files[kind].write(line)
        except OSError:
            self._files.pop(kind).close()
            raise

    def _picture(self, uri: str) -> str:
        """Write the bytes of a picture once; returns its path, or nothing for what has none."""
        head, _, payload = uri.partition(",")
        if not head.startswith("data:") or not head.endswith(";base64"):
            return ""
        try:
            data = base64.b64decode(payload, validate=True)
        except (binascii.Error, ValueError):
            return ""
        name = f"{IMAGES}/{hashlib.sha256(data).hexdigest()}{_suffix(data)}"
        path = self.folder / name
        if not path.exists():
            # Whole or not at all, also where another worker writes the same picture now.
            half = path.with_name(f".{path.name}.{uuid4().hex}")
            _new_file(half, data)
            os.replace(half, path)
        return name


class _File:
    """A file of lines, which no other process writes to."""

    def __init__(self, folder: Path, kind: str) -> None:
        started = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        path = folder / f"{kind}-{started}-{uuid4().hex[:8]}.jsonl"
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self.size = 0

    def write(self, line: bytes) -> None:
        """Append a line; OSError if not all of it could be written."""
        written = os.write(self._descriptor, line)
        if written < len(line):
            raise OSError("only a part of a line could be written")
        self.size += written

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)


def _private(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o077:
            raise UserError(
                f"--record {folder}: others than its owner may enter this folder, and recordings "
                f"are the users' own words and pictures. `chmod 700 {folder}`, or name a new "
                f"folder inside it."
            )
        (folder / IMAGES).mkdir(mode=0o700, exist_ok=True)
        probe = folder / f".{uuid4().hex}"
        _new_file(probe, b"")
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"--record {folder}: cannot be written to ({reason_of(error)}). Name another folder."
        ) from error
    return folder


def _new_file(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


def _suffix(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    return next((suffix for start, suffix in _SUFFIXES if data.startswith(start)), ".bin")


def _only_picture(conversation: Conversation, pictures: Mapping[str, str]) -> str:
    """The picture of a request that the synthesis can work on; nothing for all others."""
    shown = conversation.images
    told_before = any(
        isinstance(message, ChatMessageUser | ChatMessageAssistant)
        for message in conversation.earlier
    )
    if len(shown) != 1 or told_before or conversation.elsewhere or not conversation.text.strip():
        return ""
    return pictures.get(shown[0], "")
