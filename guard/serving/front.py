"""What holds for every request: its id, the client's key, limits, the end of a client, a log line.

A plain ASGI application around the routes, since nothing may stand between a stream and its client.
A body is read whole before anything else is done with it, so a request that waits for a place or
for the guard ends when its client leaves.
"""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Collection
from dataclasses import dataclass
from secrets import token_bytes
from typing import Final
from uuid import uuid4

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vlmguard.guard.serving.browsers import check_page
from vlmguard.guard.serving.faults import Fault
from vlmguard.guard.serving.logs import logged, raised
from vlmguard.guard.serving.metrics import Metrics
from vlmguard.guard.serving.settings import Settings

__all__ = ["OPEN", "REQUEST_ID", "Cut", "Front", "Note", "note_of"]

REQUEST_ID: Final = "x-vlmguard-request-id"
OPEN: Final = frozenset({"/healthz", "/readyz"})
"""Paths that need no key and no place: what starts and stops servers asks them."""

_BODY_SECONDS: Final = 120.0
_LINGER_SECONDS: Final = 3.0
# A hash in a log tells whether two requests are alike, and not what is in them.
_HASH_KEY: Final = token_bytes(32)


class Cut(Exception):
    """An answer that broke off; the connection ends, so that no client takes it for a whole one."""


@dataclass
class Note:
    """What is known of a request, for its log line.

    Attributes:
        request_id: Its id, which is ours.
        endpoint: Its path if it is one of ours, else a word.
        began: When it came.
        status: The status of its answer; 0 before, 499 if the client left earlier.
        action: What the guard did.
        guard_ms: The guard's time.
        size: Bytes of its body.
        answered: Bytes of the answer.
        digest: Keyed hash of its body.
        code: The code of our error, if the answer is one.
        failure: What went wrong in the server.
    """

    request_id: str
    endpoint: str
    began: float
    status: int = 0
    action: str = ""
    guard_ms: str = ""
    size: int = 0
    answered: int = 0
    digest: str = ""
    code: str = ""
    failure: str = ""

    @property
    def name(self) -> str:
        """What records and errors call the request."""
        return f"request {self.request_id}"


def note_of(request: Request) -> Note:
    """The note of a request."""
    note = request.scope["vlmguard"]
    assert isinstance(note, Note)
    return note


class Front:
    """The application in front of the routes.

    Args:
        app: The routes.
        settings: The server's settings.
        metrics: What counts them.
        endpoints: The paths of the routes.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, metrics: Metrics, endpoints: Collection[str]
    ) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._endpoints = frozenset(endpoints)
        self._keys = [key.encode() for key in settings.client_keys]
        self._places = asyncio.Semaphore(settings.max_concurrent)
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        endpoint = path if path in self._endpoints else "other"
        note = Note(uuid4().hex, endpoint, time.perf_counter())
        scope["vlmguard"] = note
        outgoing = _Outgoing(send, note)
        self._metrics.came()
        try:
            await self._admit(scope, receive, outgoing, note)
        finally:
            self._end(note, scope["method"])
        if note.failure and outgoing.started and not outgoing.finished:
            raise Cut

    async def _admit(
        self, scope: Scope, receive: Receive, outgoing: "_Outgoing", note: Note
    ) -> None:
        if scope["path"] in OPEN:
            await self._answer(scope, receive, outgoing, note)
            return
        try:
            self._check_key(scope)
            if self._inside >= self._settings.max_concurrent + self._settings.max_queue:
                said = "This server has as many requests as it takes. Try again."
                raise Fault(429, "too_many_requests", said, headers={"retry-after": "1"})
        except Fault as fault:
            note.code = fault.code
            await fault.response(scope["path"])(scope, receive, outgoing)
            return
        self._inside += 1
        try:
            await self._serve(scope, receive, outgoing, note)
        finally:
            self._inside -= 1

    async def _serve(
        self, scope: Scope, receive: Receive, outgoing: "_Outgoing", note: Note
    ) -> None:
        try:
            body = await self._body(scope, receive)
        except Fault as fault:
            note.code = fault.code
            await _refuse_early(fault.response(scope["path"]), receive, outgoing)
            return
        if body is None:
            note.status = 499
            return
        note.size = len(body)
        try:
            await self._watched(scope, receive, outgoing, note, body)
        finally:
            # Only now: nobody waits for it.
            note.digest = hashlib.blake2b(body, key=_HASH_KEY, digest_size=8).hexdigest()

    async def _watched(
        self, scope: Scope, receive: Receive, outgoing: "_Outgoing", note: Note, body: bytes
    ) -> None:
        """Answer until the client leaves."""
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                if not outgoing.finished:
                    note.status = 499
                group.cancel_scope.cancel()

            group.start_soon(watch)
            async with self._places:
                await self._answer(scope, _whole(body), outgoing, note)
            group.cancel_scope.cancel()

    async def _answer(
        self, scope: Scope, receive: Receive, outgoing: "_Outgoing", note: Note
    ) -> None:
        try:
            await self._app(scope, receive, outgoing)
        except Exception as error:  # no client sees an error of ours, nor does a log its content
            note.failure = type(error).__name__
            raised(note.name, error)
            if not outgoing.started:
                said = f"The server failed. Its log has the place, at {note.request_id}."
                fault = Fault(500, "internal", said)
                note.code = fault.code
                await fault.response(scope["path"])(scope, receive, outgoing)

    def _check_key(self, scope: Scope) -> None:
        """Refuse a client without one of the keys; if there are none, other sites' pages.

        Raises:
            Fault: It has none, or is such a page.
        """
        if not self._keys:
            check_page(scope)
            return
        given = [value for name, value in scope["headers"] if name == b"x-api-key"]
        for name, value in scope["headers"]:
            kind, _, key = value.partition(b" ")
            if name == b"authorization" and kind.lower() == b"bearer":
                given.append(key.strip())
        # All are compared, so that the time does not tell which one is near.
        equal = [hmac.compare_digest(value, key) for value in given for key in self._keys]
        if not any(equal):
            said = "A key for this server is needed: `Authorization: Bearer KEY` or `x-api-key`."
            headers = {"www-authenticate": "Bearer"}
            raise Fault(401, "invalid_api_key", said, headers=headers)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body; None if the client left.

        Raises:
            Fault: It is encoded, too large, or too slow.
        """
        for name, value in scope["headers"]:
            # Unpacked, a small body may have gigabytes.
            if name == b"content-encoding" and value.strip().lower() != b"identity":
                said = "The body is encoded. Send it as it is, without Content-Encoding."
                headers = {"connection": "close", "accept-encoding": "identity"}
                raise Fault(415, "content_encoding", said, headers=headers)
        most = self._settings.max_body
        said = f"The body has more than {most:,} bytes, which is this server's limit."
        too_large = Fault(413, "body_too_large", said, headers={"connection": "close"})
        declared = dict(scope["headers"]).get(b"content-length", b"")
        if declared.isdigit() and int(declared) > most:
            raise too_large
        pieces, size = [], 0
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    pieces.append(message.get("body", b""))
                    size += len(pieces[-1])
                    if size > most:
                        raise too_large
                    if not message.get("more_body", False):
                        return b"".join(pieces)
        except TimeoutError:
            said = f"The body did not come within {_BODY_SECONDS:.0f} seconds."
            headers = {"connection": "close"}
            raise Fault(408, "body_timeout", said, headers=headers) from None

    def _end(self, note: Note, method: str) -> None:
        seconds = time.perf_counter() - note.began
        self._metrics.left(note.endpoint, note.status, note.action, seconds)
        if note.code:
            self._metrics.told(note.code)
        if note.endpoint in OPEN:
            return
        line = {
            "id": note.request_id,
            "method": method,
            "endpoint": note.endpoint,
            "status": note.status,
            "action": note.action,
            "ms": round(seconds * 1000, 1),
            "guard_ms": note.guard_ms,
            "bytes_in": note.size,
            "bytes_out": note.answered,
            "content": note.digest,
            "code": note.code,
            "failure": note.failure,
        }
        logged({name: value for name, value in line.items() if value != ""})


class _Outgoing:
    """The way to the client, which notes what goes there."""

    def __init__(self, send: Send, note: Note) -> None:
        self._send = send
        self._note = note
        self.started = False
        self.finished = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self._note.status = message["status"]
            headers = message.setdefault("headers", [])
            told = dict(headers)
            self._note.action = told.get(b"x-vlmguard-action", b"").decode("latin-1")
            self._note.guard_ms = told.get(b"x-vlmguard-ms", b"").decode("latin-1")
            added = (REQUEST_ID.encode(), self._note.request_id.encode())
            message["headers"] = [*headers, added]
        elif message["type"] == "http.response.body":
            self._note.answered += len(message.get("body", b""))
            self.finished = not message.get("more_body", False)
        await self._send(message)


async def _refuse_early(response: Response, receive: Receive, send: Send) -> None:
    """Refuse a request whose body still comes, and let some more of it come to nothing.

    A connection that is closed on a client that still sends is reset, and with it the answer that
    it has not read yet.
    """
    headers = response.raw_headers
    start = {"type": "http.response.start", "status": response.status_code, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": bytes(response.body), "more_body": True})
    with anyio.move_on_after(_LINGER_SECONDS):
        while (await receive()).get("more_body", False):
            pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _whole(body: bytes) -> Receive:
    """Gives a body that was read; after it nothing, since the front itself sees clients leave."""
    given = False

    async def receive() -> Message:
        nonlocal given
        if given:
            await anyio.sleep_forever()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
