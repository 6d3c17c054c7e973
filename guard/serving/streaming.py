"""Streams behind a defense that checks the parts of an answer: what has passed leaves at once.

The text so far is checked at each end of a sentence and at the latest after 200 characters, and
what came up to there leaves in the model's own bytes. So an answer of `c` characters has at most
`c / 20 + 1` checks, as no sentence counts that is shorter than 20 characters, and usually one a
sentence; each reads the whole text so far. While one runs, the model's next words wait.

Unsafe: what was held back is dropped, and the stream ends with our refusal and the reason
`content_filter`. If nothing has been sent before, the answer is a refusal as any other. A last
comment says what was decided (`: vlmguard action=pass checks=3`), since the headers were sent long
before. If the guard cannot decide midway, the server's rule holds: with `refuse` the stream ends
with an error in it, with `original` the rest passes.

Reasoning and tool calls are not checked, as in whole answers, and keep their place in the order.
Text beside a tool call is checked here, and is not in a whole answer.
"""

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

import anyio
import httpx
from inspect_ai.model import ModelOutput
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from vlmguard.guard.defense import Conversation, Target, refusal
from vlmguard.guard.serving.dialects.base import Asked
from vlmguard.guard.serving.dialects.parts import ReadsParts
from vlmguard.guard.serving.faults import Fault
from vlmguard.guard.serving.front import Note
from vlmguard.guard.serving.guarding import Decided, Guard
from vlmguard.guard.serving.sse import DONE, Splitter, comment, data_of
from vlmguard.guard.serving.upstream import Header, of_upstream

__all__ = ["MOST", "Checks", "Pieces", "Streamed", "is_pause", "without_encoding"]

MOST: Final = 200
"""The most characters that are held back for the end of a sentence."""

LEAST: Final = 20
"""The fewest characters of a sentence that is checked for itself."""

# A full stop within a number or a name is followed by no space; wide ones need none.
_END: Final = re.compile(r"[.!?؟۔।…][\"'”’»)\]]*\s|[。！？｡]|\n")


class Pieces(Protocol):
    """What comes in pieces of bytes, as the body of a response does."""

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """The pieces."""
        raise NotImplementedError


def is_pause(text: str, checked: int) -> bool:
    """Whether a text is to be checked now.

    Args:
        text: The text so far.
        checked: How many of its characters have been checked.
    """
    new = len(text) - checked
    return new >= MOST or (new >= LEAST and _END.search(text, checked + LEAST - 2) is not None)


def without_encoding(response: httpx.Response) -> list[Header]:
    """The headers of a response whose body is read here: without those of its bytes on the way."""
    dropped = (b"content-encoding", b"content-length")
    return [pair for pair in of_upstream(response.headers.raw) if pair[0] not in dropped]


class Checks:
    """The parts of one answer, checked one after another.

    Args:
        guard: The guard.
        dialect: The API.
        asked: The request.
        conversation: Its conversation.
        decided: What was decided about it.
        target: The model.
    """

    def __init__(
        self,
        guard: Guard,
        dialect: ReadsParts,
        asked: Asked,
        conversation: Conversation,
        decided: Decided,
        target: Target,
    ) -> None:
        self._guard, self._dialect, self._asked = guard, dialect, asked
        self._conversation, self._request, self._target = conversation, decided, target
        self.decided = decided
        """What was decided last."""
        self.count = 0
        """How many checks there were."""
        self._text = ""
        self._checked = 0
        self._held: list[tuple[bytes, str | None]] = []
        self._said: list[str] = []
        self._sent = False
        self._open = False

    async def pieces(self, response: Pieces) -> AsyncIterator[bytes]:
        """What may leave of a stream, as it may; nothing at all of an answer that is refused whole.

        Raises:
            Fault: Before anything has left: the guard cannot decide, or the model breaks off.
            httpx.HTTPError: After that, the model breaks off.
        """
        try:
            async for piece in self._passed(response):
                self._sent = True
                yield piece
        except Fault as fault:
            if not self._sent:
                raise
            yield self._dialect.broken(fault, self._said)
            yield self._verdict("unavailable")

    async def _passed(self, response: Pieces) -> AsyncIterator[bytes]:
        splitter, ended = Splitter(), False
        try:
            async for some in response.aiter_bytes():
                for event in splitter.feed(some):
                    ended = ended or self._is_end(event)
                    async for piece in self._take(event):
                        yield piece
                    if self.decided.decision.action == "block":
                        return
            # What comes behind ends the last event, so it is one.
            if splitter.rest:
                last = splitter.rest + b"\n\n"
                ended = ended or self._is_end(last)
                async for piece in self._take(last):
                    yield piece
                if self.decided.decision.action == "block":
                    return
        except httpx.HTTPError as error:
            if self._sent:
                raise
            said = f"The model's answer broke off ({type(error).__name__})."
            raise Fault(502, "upstream_broken", said) from None
        async for piece in self._release():
            yield piece
        if not ended and self.decided.decision.action != "block":
            yield self._verdict(self.decided.told)

    def _is_end(self, event: bytes) -> bool:
        try:
            return data_of(event) == DONE
        except ValueError:
            return False

    async def _take(self, event: bytes) -> AsyncIterator[bytes]:
        """What leaves with an event."""
        if self._is_end(event):
            async for piece in self._release():
                yield piece
            if self.decided.decision.action != "block":
                yield self._verdict(self.decided.told) + event
            return
        data = part = None
        try:
            data = data_of(event)
            part = self._dialect.part(data) if data is not None else None
            if part is not None and not (self._text + part.text).endswith(part.repeats):
                raise ValueError("an event that repeats what was not said")
        except ValueError:
            # Raises if the server refuses then; else the rest passes.
            record = self._request.record
            self.decided = self._guard.unable(self._conversation, record, "unreadable_answer")
            self._open = True
            part = None
        self._held.append((event, data))
        if part is not None:
            self._text += part.text
        whole = part is not None and part.ends
        if self._open or whole or is_pause(self._text, self._checked):
            async for piece in self._release():
                yield piece
        elif len(self._text) == self._checked and (
            self._sent or (part is not None and part.beside)
        ):
            yield self._let_go()

    async def _release(self) -> AsyncIterator[bytes]:
        """Check what was not, and let go what is held; or end the stream."""
        if len(self._text) > self._checked and not self._open:
            self.count += 1
            output = ModelOutput.from_content(self._asked.model, self._text)
            self.decided, _ = await self._guard.check(
                self._conversation, self._request, output, self._target
            )
            self._checked = len(self._text)
            if self.decided.decision.action == "block":
                self._held.clear()
                for piece in self._cut() if self._sent else ():
                    yield piece
                return
        if self._held:
            yield self._let_go()

    def _let_go(self) -> bytes:
        held = b"".join(event for event, _ in self._held)
        self._said += [data for _, data in self._held if data is not None]
        self._held.clear()
        return held

    def _cut(self) -> list[bytes]:
        ours = refusal(self._asked.model)
        if self._checked:
            ours.completion = f"\n\n{ours.completion}"
        *events, done = self._dialect.cut(self._asked, ours, self._said)
        return [*events, self._verdict("block"), done]

    def _verdict(self, told: str) -> bytes:
        return comment(f"vlmguard action={told} checks={self.count}")


class Streamed(Response):
    """A stream that leaves as its parts pass.

    Args:
        opened: The model's response, which is closed at the end.
        headers: Its headers.
        pieces: What leaves.
        first: The first piece, which has come.
        checks: Where they come from.
        note: Where the last decision is noted.
    """

    def __init__(
        self,
        opened: AbstractAsyncContextManager[httpx.Response],
        headers: list[Header],
        pieces: AsyncIterator[bytes],
        first: bytes,
        checks: Checks,
        note: Note,
    ) -> None:
        self._opened, self._pieces, self._first = opened, pieces, first
        self._checks, self._note = checks, note
        self.status_code = 200
        self.background = None
        self.raw_headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; a client that leaves ends the check that runs, and the model's answer."""
        start = {"type": "http.response.start", "status": self.status_code}
        try:
            await send({**start, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": self._first, "more_body": True})
            async for piece in self._pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            self._note.action = self._checks.decided.told
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            with anyio.CancelScope(shield=True):
                await self._opened.__aexit__(None, None, None)
