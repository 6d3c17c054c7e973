"""A client that costs little: requests as bytes, connections that are kept, arrivals on time."""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

KEY = "sk-0d1f7c6bb0a94e1fa2c35ce5a84b7d62"
"""What clients send as their key; LiteLLM refuses well-known ones."""

PATH = "/v1/chat/completions"
_LIMIT = 2**24
# Seconds; uvicorn closes a connection that is free for 5.
_KEPT = 3.0


@dataclass(frozen=True)
class Reply:
    """An answer.

    Attributes:
        status: HTTP status.
        headers: Headers, names in lower case.
        body: The bytes of the body; of a stream, all of it.
        arrived: When each piece of the body came, in seconds from the request.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    arrived: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """Seconds from the request to the last byte."""
        return self.arrived[-1]


class Client:
    """A client of one server on 127.0.0.1; used in one event loop.

    Args:
        port: Port of the server.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter, float]] = []

    async def post(self, body: bytes) -> Reply:
        """Send a chat request on a connection that is free, or on a new one."""
        reader, writer = await self._connection()
        start = time.perf_counter()
        writer.write(
            b"POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer %s\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % (PATH.encode(), self.port, KEY.encode(), len(body))
        )
        writer.write(body)
        await writer.drain()
        reply = await _read(reader, start)
        if reply.headers.get("connection") == "close":
            writer.close()
        else:
            self._idle.append((reader, writer, time.monotonic()))
        return reply

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer, since = self._idle.pop()
            if time.monotonic() - since < _KEPT:
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self.port, limit=_LIMIT)

    def close(self) -> None:
        """Close the connections that are free."""
        for _, writer, _ in self._idle:
            writer.close()
        self._idle.clear()


async def _read(reader: asyncio.StreamReader, start: float) -> Reply:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(lines[0].split()[1])
    pairs = (line.split(":", 1) for line in lines[1:] if line)
    headers = {name.lower(): value.strip() for name, value in pairs}
    pieces, arrived = [], []
    if "content-length" in headers:
        pieces.append(await reader.readexactly(int(headers["content-length"])))
        arrived.append(time.perf_counter() - start)
    else:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            pieces.append((await reader.readexactly(size + 2))[:-2])
            arrived.append(time.perf_counter() - start)
        await reader.readexactly(2)
    return Reply(status, headers, b"".join(pieces), tuple(arrived))


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Moments of independent arrivals (a Poisson process), in seconds from the start.

    Args:
        rate: Mean number a second.
        seconds: Length of the period; the number is always rate times seconds.
        seed: The same seed gives the same moments.
    """
    source = random.Random(seed)
    return sorted(source.uniform(0, seconds) for _ in range(round(rate * seconds)))


async def open_loop(
    client: Client, moments: list[float], body: Callable[[int], bytes]
) -> list[Reply]:
    """Send a request at each moment, whether or not the earlier ones have been answered.

    Args:
        client: The client.
        moments: Seconds from now.
        body: Gives the body of request 0, 1, ...
    """
    bodies = [body(number) for number in range(len(moments))]
    begin = time.perf_counter()

    async def one(moment: float, data: bytes) -> Reply:
        await asyncio.sleep(begin + moment - time.perf_counter())
        return await client.post(data)

    return await asyncio.gather(*map(one, moments, bodies))


async def closed_loop(
    client: Client, numbers: range, body: Callable[[int], bytes], at_once: int
) -> None:
    """Send requests, so many at once, each with status 200.

    Args:
        client: The client.
        numbers: The numbers of the requests.
        body: Gives the body of a request by its number.
        at_once: Number of requests at a time.
    """
    waiting = iter(numbers)

    async def some() -> None:
        for number in waiting:
            reply = await client.post(body(number))
            assert reply.status == 200, (reply.status, reply.body[:200])

    await asyncio.gather(*(some() for _ in range(at_once)))
