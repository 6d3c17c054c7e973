"""An upstream in a process of its own that costs little.

    python tests/support/load/upstream.py answer|echo|stream [STREAMS]

`answer` gives one short completion. `echo` gives the body of the request back as its answer.
`stream` gives events: a text, or a tool's call where tools are named and none has answered yet. The
first streams stop after one event until so many are open (STREAMS, within 60 seconds). `GET /peak`
says how many were open at once.
"""

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

EVENTS = 20
PAUSE = 0.1
"""Seconds between two events of a stream."""

_PATIENCE = 60.0

_ANSWER = {
    "id": "chatcmpl-0",
    "object": "chat.completion",
    "created": 0,
    "model": "canned",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "Blocks of several colours."},
        }
    ],
    "usage": {"prompt_tokens": 200, "completion_tokens": 20, "total_tokens": 220},
}


def events(tool: bool) -> list[bytes]:
    """The events of a stream.

    Args:
        tool: A tool's call, in place of a text.
    """
    return [b"data: %s\n\n" % json.dumps(each).encode() for each in _chunks(tool)] + [
        b"data: [DONE]\n\n"
    ]


def _chunks(tool: bool) -> Iterator[dict[str, Any]]:
    for number in range(EVENTS):
        delta: dict[str, Any] = {"content": f"word {number} "}
        if tool:
            call: dict[str, Any] = {"index": 0, "function": {"arguments": f'"{number}"'}}
            if number == 0:
                call |= {"id": "call_0", "type": "function"}
                call["function"]["name"] = "look"
            delta = {"tool_calls": [call]}
        yield _chunk(delta, None)
    yield _chunk({}, "tool_calls" if tool else "stop")


def _chunk(delta: dict[str, Any], finished: str | None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finished}
    kind = "chat.completion.chunk"
    return {"id": "chatcmpl-0", "object": kind, "created": 0, "model": "canned"} | {
        "choices": [choice]
    }


class Upstream:
    """The server; the arguments are those of the command line."""

    def __init__(self, kind: str, streams: int) -> None:
        self.kind = kind
        self.streams = streams
        self.open = 0
        self.peak = 0
        self.full = asyncio.Event()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(_length(head))
                if head.startswith(b"GET /peak"):
                    await _send(writer, b"%d" % self.peak)
                elif self.kind == "stream":
                    await self._stream(writer, body)
                else:
                    await _send(writer, body if self.kind == "echo" else _COMPLETION)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _stream(self, writer: asyncio.StreamWriter, body: bytes) -> None:
        request = json.loads(body)
        called = any(message["role"] == "tool" for message in request["messages"])
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        self.open += 1
        self.peak = max(self.peak, self.open)
        if self.peak >= self.streams:
            self.full.set()
        for event in events("tools" in request and not called):
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
            await writer.drain()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.full.wait(), _PATIENCE)
            await asyncio.sleep(PAUSE)
        writer.write(b"0\r\n\r\n")
        self.open -= 1


_COMPLETION = json.dumps(_ANSWER).encode()


async def _send(writer: asyncio.StreamWriter, body: bytes) -> None:
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body) + body
    )
    await writer.drain()


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0


async def _serve(kind: str, streams: int) -> None:
    server = await asyncio.start_server(
        Upstream(kind, streams).handle, "127.0.0.1", 0, limit=2**24, backlog=1024
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]) if sys.argv[2:] else 0))
