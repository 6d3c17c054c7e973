"""Whole answers behind a defense that checks them: nothing leaves before it is checked.

A client that asked for a stream waits too, and gets the very stream of the model at the end. What
the defense keeps goes on byte by byte. Another answer takes the place of the model's in the body of
the last one (id and usage stay, nothing of the answer does), or is a stream of its own. Reasoning,
tool calls and sound are not checked, see `Defense.check`.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

import anyio
import httpx
from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput
from starlette.responses import Response, StreamingResponse

from vlmguard.guard.defense import Conversation, Target
from vlmguard.guard.defense.refusal import is_block
from vlmguard.guard.serving.clock import Clock
from vlmguard.guard.serving.dialects.base import Asked, Dialect
from vlmguard.guard.serving.dialects.parts import ReadsParts
from vlmguard.guard.serving.faults import Fault
from vlmguard.guard.serving.front import Note
from vlmguard.guard.serving.guarding import Decided, Guard
from vlmguard.guard.serving.json_text import loads
from vlmguard.guard.serving.shown import Shown
from vlmguard.guard.serving.sse import events_in
from vlmguard.guard.serving.streaming import Checks, Streamed, without_encoding
from vlmguard.guard.serving.upstream import Header

__all__ = ["EVENTS", "Answers", "Came", "Open", "check_choices"]

Open = Callable[[bytes], AbstractAsyncContextManager[httpx.Response]]
"""Sends a body on, and gives the response."""

EVENTS = "text/event-stream"


def check_choices(asked: Asked) -> None:
    """Refuse several answers to one request, of which a defense checks one, and one that is later.

    Raises:
        Fault: Several are asked for, or none with this response.
    """
    if asked.choices > 1:
        said = "n: this guard checks one answer to a request. Ask again for another."
        raise Fault(400, "several_answers", said, "n")
    if asked.later:
        said = "background: this guard checks the answer, which another request would fetch."
        raise Fault(400, "unchecked_answer", said, "background")


@dataclass(frozen=True)
class Came:
    """What came of the model.

    Attributes:
        status: The status.
        headers: Its headers, without those of the connection, of a length and of a compression.
        raw: The body.
        output: What it says; None for an error, or if it cannot be read.
    """

    status: int
    headers: list[Header]
    raw: bytes
    output: ModelOutput | None = None

    @property
    def is_stream(self) -> bool:
        """Whether it is a stream of events."""
        return _is_stream(self.headers)

    def response(self) -> Response:
        """The same for the client."""
        response = Response(self.raw, self.status)
        # A cookie a header stays one.
        response.raw_headers = [*self.headers, *response.raw_headers]
        return response


class _NoAnswerError(Exception):
    """The model gave no answer: an error, or what cannot be read."""


class Answers:
    """The answers to one request.

    Args:
        guard: The guard.
        dialect: The API.
        asked: The request.
        seen: Its messages, as sent and as the guard sees them.
        send: Sends a body on.
    """

    def __init__(
        self, guard: Guard, dialect: Dialect, asked: Asked, seen: Shown, send: Open
    ) -> None:
        self._guard, self._dialect = guard, dialect
        self._asked, self._seen, self._send = asked, seen, send
        self._clock = Clock(guard.settings.guard_timeout)
        self._came: list[Came] = []

    async def ask(self, messages: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
        """Let the model answer, as `Target` wants it.

        Raises:
            Fault: It cannot be reached.
        """
        own = config if config.model_dump(exclude_none=True) else None
        with self._clock.stopped():
            async with self._send(self._body(messages, own)) as response:
                came = await self._read(response)
        self._came.append(came)
        if came.output is None:
            raise _NoAnswerError
        return came.output

    async def checked(
        self, conversation: Conversation, decided: Decided, target: Target
    ) -> tuple[Decided, Response | None]:
        """The answer to a request that was decided about, checked.

        Args:
            conversation: The conversation.
            decided: What was decided about it.
            target: The model, whose answers are `ask`'s.

        Returns:
            What was decided, and the response; None if the answer is refused.

        Raises:
            Fault: The guard cannot decide, or the model cannot be reached.
        """
        settings = self._guard.defense.answer_settings(decided.decision, target)
        try:
            output = await target(list(decided.decision.messages), settings)
        except _NoAnswerError:
            return self._without_answer(conversation, decided)
        return await self._looked_at(conversation, decided, output, target)

    async def came(
        self, conversation: Conversation, decided: Decided, response: httpx.Response, target: Target
    ) -> tuple[Decided, Response | None]:
        """As `checked`, for a response of the model that is there.

        Args:
            conversation: As there.
            decided: As there.
            response: The response, not read yet.
            target: As there.
        """
        self._came.append(await self._read(response))
        output = self._came[-1].output
        if output is None:
            return self._without_answer(conversation, decided)
        return await self._looked_at(conversation, decided, output, target)

    async def streamed(
        self, conversation: Conversation, decided: Decided, target: Target, note: Note
    ) -> tuple[Decided, Response | None]:
        """As `checked`, for a stream that the defense and the API check part by part.

        Args:
            conversation: As there.
            decided: As there.
            target: As there.
            note: Where the last decision is noted, which comes behind the headers.
        """
        assert isinstance(self._dialect, ReadsParts)
        settings = self._guard.defense.answer_settings(decided.decision, target)
        opened = self._send(self._body(decided.decision.messages, settings))
        response = await opened.__aenter__()
        streams = False
        try:
            headers = without_encoding(response)
            if response.status_code >= 400 or not _is_stream(headers):
                return await self.came(conversation, decided, response, target)
            checks = Checks(self._guard, self._dialect, self._asked, conversation, decided, target)
            pieces = checks.pieces(response)
            first = await anext(pieces, None)
            if first is None:
                return checks.decided, None
            streams = True
            return decided, Streamed(opened, headers, pieces, first, checks, note)
        finally:
            if not streams:
                with anyio.CancelScope(shield=True):
                    await opened.__aexit__(None, None, None)

    async def _looked_at(
        self, conversation: Conversation, decided: Decided, output: ModelOutput, target: Target
    ) -> tuple[Decided, Response | None]:
        decided.record.add_call("answer", output, "target")
        if len(output.choices) > 1:
            unable = self._guard.unable(conversation, decided.record, "several_answers")
            return unable, self._came[0].response()
        try:
            decided, output = await self._guard.check(
                conversation, decided, output, target, self._clock
            )
        except Fault:
            if not self._failed:
                raise
        if self._failed:
            # A further answer, which the defense asked for.
            return self._without_answer(conversation, decided)
        return decided, self._response(output)

    @property
    def _failed(self) -> bool:
        return any(came.output is None for came in self._came)

    def _without_answer(
        self, conversation: Conversation, decided: Decided
    ) -> tuple[Decided, Response]:
        failed = next(came for came in self._came if came.output is None)
        if failed.status < 400:
            decided = self._guard.unable(conversation, decided.record, "unreadable_answer")
        return decided, failed.response()

    def _response(self, output: ModelOutput) -> Response | None:
        kept = next((came for came in self._came if came.output is output), None)
        if kept is not None:
            return kept.response()
        if is_block(output):
            return None
        last = self._came[-1]
        if last.is_stream:
            return StreamingResponse(self._dialect.events(self._asked, output), media_type=EVENTS)
        raw = self._dialect.replaced(last.raw.decode(), output).encode()
        return Came(last.status, last.headers, raw).response()

    def _body(self, messages: Sequence[ChatMessage], settings: GenerateConfig | None) -> bytes:
        return self._dialect.written(self._asked, self._seen.as_sent(messages), settings)

    async def _read(self, response: httpx.Response) -> Came:
        try:
            raw = await response.aread()
        except httpx.HTTPError as error:
            said = f"The model's answer broke off ({type(error).__name__})."
            raise Fault(502, "upstream_broken", said) from None
        came = Came(response.status_code, without_encoding(response), raw)
        if came.status >= 400:
            return came
        try:
            return replace(came, output=self._output(came))
        except ValueError:
            return came

    def _output(self, came: Came) -> ModelOutput:
        if came.is_stream:
            return self._dialect.output(self._dialect.streamed(events_in(came.raw)))
        said = loads(came.raw)
        if not isinstance(said, dict):
            raise ValueError("no object")
        return self._dialect.output(said)


def _is_stream(headers: list[Header]) -> bool:
    return dict(headers).get(b"content-type", b"").startswith(EVENTS.encode())
