"""Brings what the guard decided about a request, and its answer, to the recorder.

Decisions come from the guard itself (`note_decision`), whatever the endpoint; answers are listened
to on their way out, in shadow mode alone, where they are those of the model without a guard. There
a defense that checks answers gets the same copy (`heard_answer`).
"""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from vlmguard.guard.decision import Decision
from vlmguard.guard.defense import Conversation
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.serving.answer_text import text_of
from vlmguard.guard.serving.heard import Heard
from vlmguard.guard.serving.recording import Recorder, declined

__all__ = ["Recorded", "decline", "heard_answer", "is_declined", "note_decision"]


class Recorded:
    """The application that notes what passes through another.

    Args:
        app: The other.
        recorder: Where it is written; None if a client's wish matters to the log alone.
        shadow: Whether answers are kept, since the guard changes nothing.
        checks: Whether its defense checks answers.
    """

    def __init__(self, app: ASGIApp, recorder: Recorder | None, shadow: bool, checks: bool) -> None:
        self._app = app
        self._recorder = recorder
        self._shadow = shadow
        self._hears = shadow and (recorder is not None or checks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        names = [name.decode("latin-1") for name, _ in scope["headers"]]
        exchange = _Exchange(self._recorder, wanted=not declined(names), shadow=self._shadow)
        token = _NOW.set(exchange)
        try:
            await self._app(scope, receive, exchange.heard.through(send) if self._hears else send)
        finally:
            _NOW.reset(token)
            exchange.end()


def note_decision(conversation: Conversation, decision: Decision, record: DefenseRecord) -> None:
    """Tell what was decided about the request at hand; does nothing where none is recorded.

    Args:
        conversation: What the guard got.
        decision: What it decided about the request, before any answer.
        record: The record of the defense.
    """
    exchange = _NOW.get()
    if exchange is not None:
        exchange.decided(conversation, decision, record)


async def heard_answer() -> httpx.Response:
    """The answer to the request at hand, in shadow mode, as soon as it has left.

    Raises:
        Fault: There is none to look at.
    """
    exchange = _NOW.get()
    assert exchange is not None
    return await exchange.heard.response()


def decline() -> None:
    """Keep nothing of the request at hand: a gateway told of its client's wish."""
    exchange = _NOW.get()
    if exchange is not None:
        exchange.wanted = False


def is_declined() -> bool:
    """Whether the client of the request at hand wants nothing of it to be kept."""
    exchange = _NOW.get()
    return exchange is not None and not exchange.wanted


class _Exchange:
    """A request, until both its decision and its answer are there."""

    def __init__(self, recorder: Recorder | None, wanted: bool, shadow: bool) -> None:
        self.wanted = wanted
        self.heard = Heard()
        self._recorder = recorder
        self._shadow = shadow
        self._decided: _Noted | None = None
        self._ended = False

    def decided(
        self, conversation: Conversation, decision: Decision, record: DefenseRecord
    ) -> None:
        if self._recorder is None:
            return
        if not self.wanted:
            self._recorder.decline()
            return
        self._decided = _Noted(conversation, decision, record)
        if self._ended or not self._shadow:
            self._write()

    def end(self) -> None:
        self._ended = True
        self.heard.end()
        if self._decided is not None and self._shadow:
            self._write()

    def _write(self) -> None:
        assert self._decided is not None
        assert self._recorder is not None
        noted, headers = self._decided, self.heard.headers
        # Only a whole answer is one: of a client that left, or beyond the limit, nothing is kept.
        raw = self.heard.whole if self.heard.status == 200 else None
        self._recorder.record(
            noted.conversation.name.removeprefix("request "),
            noted.conversation,
            noted.decision,
            noted.record,
            (lambda: text_of(headers, raw)) if raw is not None else None,
            shadow=self._shadow,
            size=self.heard.size,
        )


@dataclass(frozen=True)
class _Noted:
    conversation: Conversation
    decision: Decision
    record: DefenseRecord


_NOW: Final[ContextVar[_Exchange | None]] = ContextVar("recorded exchange", default=None)
