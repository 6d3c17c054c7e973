"""A real server of the guard on loopback, before an upstream that says any bytes.

with raw_upstream(lambda connection, request: connection.sendall(b"HTTP/1.1 ...")) as upstream:
    with live_server("vlmguard", {"rewriter": Scripted(...)}, upstream) as guard:
        status, headers, body = guard.send(b"POST /v1/chat/completions HTTP/1.1 ...")
"""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPResponse
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

import uvicorn
from inspect_ai.model import Model, get_model
from support.scripted import Scripted

from vlmguard.guard.serving.app import make_app
from vlmguard.guard.serving.settings import Settings
from vlmguard.guard.serving.upstream import Upstream

PATH = "/v1/chat/completions"
PATIENCE = 20
"""Seconds after which what should have happened long ago has not."""


@dataclass(frozen=True)
class Received:
    """A request that the upstream got: its head (lines, without the empty one) and body."""

    head: bytes
    body: bytes

    @property
    def names(self) -> list[str]:
        """Names of its headers, in lower case."""
        lines = self.head.split(b"\r\n")[1:]
        return [line.partition(b":")[0].decode().lower() for line in lines]


Talk = Callable[[socket.socket, Received], None]


@dataclass
class RawUpstream:
    """The upstream.

    Attributes:
        address: Its base URL.
        received: Its requests.
        began: Set when a request has come.
        left: Set when the other side closed a connection that the script still held.
    """

    address: str = ""
    received: list[Received] = field(default_factory=list)
    began: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)

    @property
    def model(self) -> Model:
        """The same as a model of a defense."""
        return get_model(
            "openai/scripted",
            base_url=self.address,
            api_key="k",
            responses_api=False,
            memoize=False,
        )

    def wait_until_left(self, connection: socket.socket) -> None:
        """Hold a connection until the other side leaves."""
        try:
            while connection.recv(1000):
                pass
        except OSError:
            pass
        self.left.set()


@contextmanager
def raw_upstream(talk: Talk) -> Iterator[RawUpstream]:
    """Serve on 127.0.0.1 until the block ends; `talk` answers each request, then it hangs up."""
    upstream = RawUpstream()

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            came = b""
            while b"\r\n\r\n" not in came:
                more = self.request.recv(65_536)
                if not more:
                    return
                came += more
            head, _, body = came.partition(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            )
            while len(body) < length:
                body += self.request.recv(65_536)
            request = Received(head, body)
            upstream.received.append(request)
            upstream.began.set()
            talk(self.request, request)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        upstream.address = f"http://127.0.0.1:{server.server_address[1]}/v1"
        yield upstream
        server.shutdown()


def saying(content: bytes, status: str = "200 OK", headers: str = "") -> Talk:
    """A script that answers every request alike."""
    # It says that it hangs up: else the next request may come just before it does.
    told = f"Content-Length: {len(content)}\r\nConnection: close\r\n{headers}"

    def talk(connection: socket.socket, request: Received) -> None:
        head = f"HTTP/1.1 {status}\r\n{told}\r\n"
        connection.sendall(head.encode("latin-1") + content)

    return talk


def answer(text: str = "An answer.") -> bytes:
    """The body of a chat completion."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"id": "c", "object": "chat.completion", "choices": [choice]}).encode()


def reset(connection: socket.socket) -> None:
    """Hang up with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@dataclass(frozen=True)
class LiveServer:
    """A server of the guard."""

    port: int

    def connect(self) -> socket.socket:
        """A connection to it."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def send(self, *pieces: bytes) -> "Answer":
        """Send bytes as they are, and read the answer."""
        with self.connect() as connection:
            try:
                for piece in pieces:
                    connection.sendall(piece)
            except OSError:
                pass  # it may refuse before all was sent
            return Answer.of(connection)

    def post(self, body: bytes, *headers: str, path: str = PATH) -> "Answer":
        """Send a request with a body."""
        return self.send(posted(body, *headers, path=path))


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @staticmethod
    def of(connection: socket.socket) -> "Answer":
        """Read an answer to its end."""
        response = HTTPResponse(connection)
        response.begin()
        return Answer(response.status, response.getheaders(), response.read())

    def header(self, name: str) -> list[str]:
        """Values of a header."""
        return [value for key, value in self.headers if key.lower() == name]

    @property
    def code(self) -> str:
        """Code of OpenAI's form of an error, whose other fields are checked."""
        error = json.loads(self.body)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        return str(error["code"])


def posted(body: bytes, *headers: str, path: str = PATH) -> bytes:
    """A request with a body, its length and further headers."""
    lines = [f"POST {path} HTTP/1.1", "Host: guard", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def asking(text: Any = "How do I climb it?", **fields: Any) -> bytes:
    """A body with one user turn."""
    messages = [{"role": "user", "content": text}]
    return json.dumps({"model": "m", "messages": messages, **fields}).encode()


@contextmanager
def live_server(
    defense: str,
    roles: Mapping[str, Scripted | Model],
    upstream: RawUpstream,
    timeout: float = PATIENCE,
    **settings: Any,
) -> Iterator[LiveServer]:
    """Serve on 127.0.0.1 until the block ends.

    Args:
        defense: Name of the defense.
        roles: Its models.
        upstream: The model behind it.
        timeout: Seconds that the upstream may be silent.
        **settings: Further fields of `Settings`.
    """
    app = make_app(
        Settings(
            defense,
            roles={
                role: each.model if isinstance(each, Scripted) else each
                for role, each in roles.items()
            },
            upstream=Upstream(upstream.address, timeout=timeout),
            **settings,
        )
    )
    # It listens from now on, so clients need not wait until the server runs.
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield LiveServer(listening.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listening.close()
