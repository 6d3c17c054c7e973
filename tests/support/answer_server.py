"""A server that answers every chat request with one prepared body and status."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.http_server import QuietHandler, serving


@contextmanager
def answer_server(status: int, body: dict[str, Any]) -> Iterator[str]:
    """Serve on 127.0.0.1 until the block ends.

    Args:
        status: HTTP status of every answer.
        body: Its JSON.

    Yields:
        Base URL, without /v1.
    """

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.read_body()
            self.send_json(status, body)

        def do_GET(self) -> None:
            self.send_json(200, {"object": "list", "data": [{"id": "m", "object": "model"}]})

    with serving(Handler) as address:
        yield address
