"""A LiteLLM gateway's stream as the server's own checks read it, and back as the gateway's chunks.

Chunks are objects (chat completions, the Responses API) or bytes (the Messages API). What a check
lets pass leaves as the very chunk that came; what the guard writes itself leaves as bytes, which
the gateway passes on.
"""

from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any

from pydantic import BaseModel

from vlmguard.guard.serving.sse import DONE, Splitter, data_of

__all__ = ["Chunks"]


class Chunks:
    """The chunks of a stream.

    Args:
        chunks: The chunks.
    """

    def __init__(self, chunks: AsyncIterator[Any]) -> None:
        self._chunks = chunks
        self._came: deque[tuple[bytes, Any]] = deque()
        self._in, self._out = Splitter(), Splitter()

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        """The chunks as events."""
        async for chunk in self._chunks:
            for event in self._events(chunk):
                yield event

    async def data(self) -> list[str]:
        """The data of all events, when the stream is whole.

        Raises:
            ValueError: One is not UTF-8.
        """
        found = [data_of(event) async for event in self.aiter_bytes()]
        return [data for data in found if data is not None and data != DONE]

    def all(self) -> list[Any]:
        """The chunks that came."""
        return [chunk for _, chunk in self._came]

    def own(self, piece: bytes) -> Iterator[Any]:
        """The chunks of what a check lets pass, without comments.

        Args:
            piece: One or more events.
        """
        for event in self._out.feed(piece):
            if self._came and event == self._came[0][0]:
                yield self._came.popleft()[1]
            elif data_of(event) not in (None, DONE):
                yield event

    def _events(self, chunk: Any) -> Iterator[bytes]:
        if isinstance(chunk, BaseModel):
            event = f"data: {chunk.model_dump_json(exclude_none=True)}\n\n".encode()
            self._came.append((event, chunk))
            yield event
            return
        for event in self._in.feed(chunk.encode() if isinstance(chunk, str) else chunk):
            self._came.append((event, event))
            yield event
