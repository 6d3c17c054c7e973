"""Reads server-sent events without changing a byte of them."""

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["DONE", "Splitter", "comment", "data_of", "events_in"]

DONE: Final = "[DONE]"
"""The data of the event that ends a stream of OpenAI's API."""

_END: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")


class Splitter:
    """Cuts a stream of bytes into whole events."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """The events that are whole with this piece, each with the empty line behind it."""
        rest, found, begin = self._rest + piece, [], 0
        # One pass: a whole stream may come at once, and is not to be copied for each event.
        for end in _END.finditer(rest):
            found.append(rest[begin : end.end()])
            begin = end.end()
        self._rest = rest[begin:]
        return found

    @property
    def rest(self) -> bytes:
        """What is there of an event that is not whole; at the end of a stream it may count."""
        return self._rest


def data_of(event: bytes) -> str | None:
    """The data of an event; None for one without any, as a comment.

    Raises:
        ValueError: It is not UTF-8.
    """
    lines = event.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n")
    found = [
        line.removeprefix("data:").removeprefix(" ") for line in lines if line.startswith("data:")
    ]
    return "\n".join(found) if found else None


def events_in(stream: bytes) -> Iterator[str]:
    """The data of all events of a whole stream, up to its end.

    Raises:
        ValueError: It is not UTF-8.
    """
    splitter = Splitter()
    for event in [*splitter.feed(stream), splitter.rest]:
        data = data_of(event)
        if data == DONE:
            return
        if data is not None:
            yield data


def comment(text: str) -> bytes:
    """An event that clients leave out."""
    return f": {text}\n\n".encode()
