"""A scripted https server for linked pictures, which a test's fetcher takes for a public one.

with picture_server({"/a.png": Reply(content=png())}) as server:
    await server.fetcher().fetch("https://pictures.test/a.png")
"""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import trustme
from support.http_server import QuietHandler, serving

from vlmguard.guard.serving.fetching import ImageFetcher

HOST = "pictures.test"


@dataclass(frozen=True)
class Reply:
    """What the server says to a request.

    Attributes:
        status: The status.
        headers: Its headers; without `Content-Length` the connection's end is the body's.
        content: The body, sent once.
        repeat: How often the body is sent, or is tried to.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    repeat: int = 1


@dataclass
class PictureServer:
    """The server.

    Attributes:
        port: Its port on 127.0.0.1.
        tls: Trusts its certificate, and no other.
        asked: The requests that it got: host that the client named in TLS, path, headers.
    """

    port: int
    tls: ssl.SSLContext
    asked: list[tuple[str | None, str, dict[str, str]]] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        """Paths of the requests."""
        return [path for _, path, _ in self.asked]

    def fetcher(self, **options: Any) -> ImageFetcher:
        """A fetcher for which every name leads here, and 127.0.0.1 is public."""

        async def resolver(host: str) -> list[tuple[str, int]]:
            return [("127.0.0.1", self.port)]

        given = {"hosts": None, "max_bytes": 1_000_000, "seconds": 20.0, "resolver": resolver}
        given |= {"allowed": lambda address: address == "127.0.0.1", "tls": self.tls} | options
        return ImageFetcher(**given)


@contextmanager
def picture_server(replies: Mapping[str, Reply], *names: str) -> Iterator[PictureServer]:
    """Serve until the block ends.

    Args:
        replies: What is said, by path without its query; others get status 404.
        *names: Host names of its certificate, `pictures.test` by default.
    """
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or (HOST,))).configure_cert(tls)
    named: list[str | None] = []

    def note(connection: Any, name: str | None, context: ssl.SSLContext) -> None:
        named.append(name)

    tls.sni_callback = note
    client = ssl.create_default_context()
    authority.configure_trust(client)

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.asked.append((named[-1], self.path, dict(self.headers)))
            reply = replies.get(self.path.partition("?")[0], Reply(404))
            self.close_connection = True
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                for _ in range(reply.repeat):
                    self.wfile.write(reply.content)
            except OSError:
                pass

    with serving(Handler, tls) as address:
        server = PictureServer(urlsplit(address).port or 0, client)
        yield server
