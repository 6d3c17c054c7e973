"""An answer on its way to the client, and a copy of it as long as it is not too long.

Nothing waits for the copy: each piece has left before it is kept.
"""

import asyncio
from typing import Final

import httpx
from starlette.types import Message, Send

from vlmguard.guard.serving.faults import Fault

__all__ = ["LONGEST", "Heard"]

LONGEST: Final = 2_000_000
"""Bytes of an answer beyond which it is not kept."""


class Heard:
    """What is known of an answer.

    Attributes:
        status: Its status; 0 before it begins.
        headers: Its headers.
        size: Bytes of its body so far.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.size = 0
        self._pieces: list[bytes] = []
        self._complete = False
        self._over = asyncio.Event()

    def through(self, send: Send) -> Send:
        """The same way to the client, listened to."""

        async def listening(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.start":
                self.status, self.headers = message["status"], list(message["headers"])
            elif message["type"] == "http.response.body":
                body = message.get("body", b"")
                self.size += len(body)
                self._pieces.append(body)
                if self.size > LONGEST:
                    self._pieces.clear()
                self._complete = not message.get("more_body", False)

        return listening

    def end(self) -> None:
        """Nothing more comes: it is whole, or its client or its model left."""
        self._over.set()

    @property
    def whole(self) -> bytes | None:
        """The body; None if it did not come to its end, or is too long."""
        kept = self._complete and self.size <= LONGEST
        return b"".join(self._pieces) if kept else None

    async def response(self) -> httpx.Response:
        """The answer, as soon as it has left.

        Raises:
            Fault: There is none to look at.
        """
        await self._over.wait()
        raw = self.whole
        if raw is None:
            if self.size > LONGEST:
                raise Fault(502, "answer_too_large", f"The answer has over {LONGEST:,} bytes.")
            raise Fault(502, "unfinished_answer", "The answer did not come to its end.")
        # As a stream: it is unpacked where it is read, and may be packed wrongly.
        stream = httpx.ByteStream(raw)
        return httpx.Response(self.status, headers=self.headers, stream=stream)
