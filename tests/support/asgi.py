"""A request straight to an ASGI application: paths as they are, and streams piece by piece.

httpx's own transport resolves `..` in paths, and waits for the end of an answer.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message


class Exchange:
    """A request on its way: what came back so far, and the client's next steps."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[Message] = asyncio.Queue()
        """What the application sent, in order."""
        self.incoming: asyncio.Queue[Message] = asyncio.Queue()
        """What the client sends."""
        self.task: asyncio.Task[None]

    def leave(self) -> None:
        """The client goes."""
        self.incoming.put_nowait({"type": "http.disconnect"})

    async def status(self) -> int:
        """The status, when it comes."""
        message = await asyncio.wait_for(self.sent.get(), 10)
        assert message["type"] == "http.response.start", message
        self.headers = [(name.decode(), value.decode()) for name, value in message["headers"]]
        return int(message["status"])

    async def piece(self) -> bytes:
        """The next piece of the body, when it comes; empty at its end."""
        message = await asyncio.wait_for(self.sent.get(), 10)
        body = bytes(message.get("body", b""))
        return body if body or not message.get("more_body") else await self.piece()

    async def ended(self) -> None:
        """Wait until the application is done; raises what it raised."""
        await asyncio.wait_for(self.task, 10)


@asynccontextmanager
async def exchange(
    app: ASGIApp,
    method: str,
    raw_path: str,
    body: bytes | Sequence[bytes] = b"",
    headers: Sequence[tuple[str, str]] = (),
    whole: bool = True,
) -> AsyncIterator[Exchange]:
    """Begin a request.

    Args:
        app: The application.
        method: Its method.
        raw_path: Its path as on the wire, with a query.
        body: Its body, or the pieces in which it comes.
        headers: Its headers.
        whole: Whether the last piece is the end of the body.
    """
    path, _, query = raw_path.partition("?")
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "client": ("127.0.0.1", 1),
        "server": ("guard", 80),
    }
    going = Exchange()
    pieces = [body] if isinstance(body, bytes) else [*body]
    for number, piece in enumerate(pieces):
        more = number < len(pieces) - 1 or not whole
        going.incoming.put_nowait({"type": "http.request", "body": piece, "more_body": more})

    async def send(message: Message) -> None:
        going.sent.put_nowait(message)

    going.task = asyncio.create_task(app(scope, going.incoming.get, send))
    try:
        yield going
    finally:
        going.task.cancel()
        await asyncio.gather(going.task, return_exceptions=True)
