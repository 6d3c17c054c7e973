"""Remembers requests until their answers come, which a gateway shows without them."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vlmguard.guard.decision import Decision
from vlmguard.guard.defense import Conversation
from vlmguard.guard.record import DefenseRecord

__all__ = ["MAX_BYTES", "MAX_CALLS", "SECONDS", "Calls", "Kept"]

SECONDS: Final = 300.0
"""How long a request is remembered."""

MAX_CALLS: Final = 10_000
"""The most requests at a time; the oldest go first."""

MAX_BYTES: Final = 256_000_000
"""The most bytes of all of them, with their images."""


@dataclass
class Kept:
    """A request that waits for its answer.

    Attributes:
        conversation: The conversation.
        decision: What was decided about it.
        record: What was asked for that.
        digest: Identity of its messages, to tell it from another request under the same id.
        size: About how many bytes it takes.
        since: When it came, in seconds of the clock.
        answered: Whether an answer to it came.
        clashed: Whether another request came under its id before that: an answer may be to either.
    """

    conversation: Conversation
    decision: Decision
    record: DefenseRecord
    digest: str
    size: int
    since: float = 0.0
    answered: bool = False
    clashed: bool = False


class Calls:
    """Requests by the id of their call, in memory alone.

    A client may choose that id (LiteLLM takes it from a header). So of two requests under one id,
    neither of which was answered, no answer is taken for that of either.

    Args:
        seconds: How long each is remembered.
        count: The most at a time.
        size: The most bytes of all.
        now: The clock, in seconds.
    """

    def __init__(
        self,
        seconds: float = SECONDS,
        count: int = MAX_CALLS,
        size: int = MAX_BYTES,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds, self._count, self._size, self._now = seconds, count, size, now
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, call: str, kept: Kept) -> None:
        """Remember a request; an empty id is nobody's."""
        if not call:
            return
        before = self._drop(call)
        if before is not None and not before.answered:
            kept.clashed = before.clashed or before.digest != kept.digest
        kept.since = self._now()
        self._kept[call] = kept
        self._bytes += kept.size
        while self._kept and (len(self._kept) > self._count or self._bytes > self._size):
            self._drop(next(iter(self._kept)))
        self._forget()

    def find(self, call: str) -> Kept | None:
        """The request of a call; None if it is unknown, too old or not certain."""
        self._forget()
        kept = self._kept.get(call)
        if kept is None or kept.clashed:
            return None
        kept.answered = True
        return kept

    def _forget(self) -> None:
        """Drop what is too old; the oldest stand first."""
        oldest = self._now() - self._seconds
        while self._kept and next(iter(self._kept.values())).since < oldest:
            self._drop(next(iter(self._kept)))

    def _drop(self, call: str) -> Kept | None:
        kept = self._kept.pop(call, None)
        if kept is not None:
            self._bytes -= kept.size
        return kept
