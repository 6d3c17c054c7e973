"""Messages between two processes of ours over a socket; an image goes over it once.

Messages are pickles, which each side only reads from a process that it started, or that started it.
A data URI in a message is replaced by its number if the other side has it. The sender decides what
the other side keeps, so that both always agree.
"""

import io
import logging
import pickle
import queue
import socket
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

logger = logging.getLogger(__name__)

KEPT_BYTES: Final = 128 << 20
"""The most bytes of data URIs that the other side keeps."""

_HEADER: Final = struct.Struct("!Q")
_DATA: Final = "data:"
_SHORT: Final = 512
"""Shorter data URIs are sent as they are."""


@dataclass(frozen=True)
class Unread:
    """Comes in place of a message that cannot be read here, with a class of a script, say.

    Attributes:
        about: What the sender said that it is about.
        error: Why it cannot be read.
    """

    about: int
    error: Exception


def send(sock: socket.socket, data: bytes) -> None:
    """Send one message as bytes; this may block.

    Raises:
        OSError: The other side is gone.
    """
    sock.sendall(_HEADER.pack(len(data)))
    sock.sendall(data)


def receive(sock: socket.socket) -> bytearray:
    """Wait for a message.

    Raises:
        EOFError: The other side is gone.
    """
    (length,) = _HEADER.unpack(_exactly(sock, _HEADER.size))
    return _exactly(sock, length)


def _exactly(sock: socket.socket, count: int) -> bytearray:
    data = bytearray(count)
    view = memoryview(data)
    while view:
        try:
            got = sock.recv_into(view)
        except OSError:
            got = 0
        if not got:
            raise EOFError
        view = view[got:]
    return data


class Channel:
    """A socket to another process. Neither sending nor receiving blocks who uses it.

    Args:
        sock: The socket; the channel closes it.
        received: Called with each message, in a thread of the channel.
        ended: Called there once, when the other side is gone or `close` was called.
        name: For the names of the threads.
    """

    def __init__(
        self,
        sock: socket.socket,
        received: Callable[[Any], None],
        ended: Callable[[], None],
        name: str,
    ) -> None:
        self._sock = sock
        self._received = received
        self._ended = ended
        self._waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._order = threading.Lock()
        self._sent = _Sent()
        for work in (self._read, self._write):
            threading.Thread(target=work, name=f"{name}{work.__name__}", daemon=True).start()

    def send(self, message: object, about: int = 0) -> None:
        """Send a message, after earlier ones; nothing happens if the other side is gone.

        Args:
            message: The message.
            about: Number of the request that fails if the other side cannot read the message.
        """
        # What the other side has depends on the order of messages.
        with self._order:
            self._waiting.put(self._sent.dumps(message, about))

    def close(self) -> None:
        """End the connection, which the other side sees at once."""
        with suppress(OSError):  # the other side may be gone
            self._sock.shutdown(socket.SHUT_RDWR)
        self._waiting.put(None)

    def forget(self) -> None:
        """After a fork: close the child's copy of the socket, and leave the connection alone."""
        self._sock.close()

    def _read(self) -> None:
        kept: dict[int, str] = {}
        try:
            with suppress(EOFError):
                while True:
                    self._received(_loads(receive(self._sock), kept))
        except Exception:  # or what waits for an answer would wait for ever
            logger.exception("A message of another process of hf-vlm/ cannot be read.")
        self.close()
        self._ended()

    def _write(self) -> None:
        with suppress(OSError):  # the other side is gone, which the reader notices
            while (data := self._waiting.get()) is not None:
                send(self._sock, data)
        self._sock.close()


class _Sent:
    """Numbers of the data URIs that the other side has."""

    def __init__(self) -> None:
        self._numbers: OrderedDict[str, int] = OrderedDict()
        self._used = 0
        self._next = 0

    def dumps(self, message: object, about: int) -> bytes:
        """A message with the data URIs that are new to the other side, and those it may drop."""
        new: dict[int, str] = {}
        gone: list[int] = []
        body = io.BytesIO()
        try:
            _Pickler(body, partial(self._number_of, new)).dump(message)
        except BaseException:  # the message is not sent, and its images are not either
            for uri in new.values():
                del self._numbers[uri]
                self._used -= len(uri)
            raise
        while self._used > KEPT_BYTES:
            uri, number = self._numbers.popitem(last=False)
            self._used -= len(uri)
            gone.append(number)
        return pickle.dumps((new, gone, about, body.getvalue()), pickle.HIGHEST_PROTOCOL)

    def _number_of(self, new: dict[int, str], uri: str) -> int:
        if uri in self._numbers:
            self._numbers.move_to_end(uri)
        else:
            self._next += 1
            self._numbers[uri] = self._next
            new[self._next] = uri
            self._used += len(uri)
        return self._numbers[uri]


class _Pickler(pickle.Pickler):
    def __init__(self, body: io.BytesIO, number_of: Callable[[str], int]) -> None:
        super().__init__(body, pickle.HIGHEST_PROTOCOL)
        self._number_of = number_of

    def persistent_id(self, obj: object) -> int | None:
        """The number of a data URI; None for all else, which is pickled as it is."""
        if isinstance(obj, str) and len(obj) > _SHORT and obj.startswith(_DATA):
            return self._number_of(obj)
        return None


class _Unpickler(pickle.Unpickler):
    def __init__(self, body: io.BytesIO, kept: dict[int, str]) -> None:
        super().__init__(body)
        self._kept = kept

    def persistent_load(self, pid: int) -> str:
        """The data URI with this number."""
        return self._kept[pid]


def _loads(data: bytearray, kept: dict[int, str]) -> Any:
    new, gone, about, body = pickle.loads(data)
    kept.update(new)
    message: Any
    try:
        message = _Unpickler(io.BytesIO(body), kept).load()
    except Exception as error:
        message = Unread(about, error)
    for number in gone:
        del kept[number]
    return message
