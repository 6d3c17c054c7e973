"""The upstream's response, byte by byte as it comes."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

import anyio
import httpx
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from vlmguard.guard.serving.upstream import of_upstream

__all__ = ["Relayed", "relayed"]


async def relayed(
    opened: AbstractAsyncContextManager[httpx.Response], told: Mapping[str, str]
) -> "Relayed":
    """The response of an upstream that is asked now.

    Args:
        opened: As from `Upstream.open`.
        told: Headers of ours.

    Raises:
        Fault: The upstream does not answer.
    """
    return Relayed(opened, await opened.__aenter__(), told)


class Relayed(Response):
    """A response that is passed on as it comes, and ends with its client."""

    def __init__(
        self,
        opened: AbstractAsyncContextManager[httpx.Response],
        response: httpx.Response,
        told: Mapping[str, str],
    ) -> None:
        self._opened = opened
        self._response = response
        self.status_code = response.status_code
        self.background = None
        # Encoded bodies stay encoded, and a cookie a header stays one.
        self.raw_headers = of_upstream(response.headers.raw)
        self.headers.update(told)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on; an upstream that breaks off raises, so that the client's end breaks too."""
        start = {"type": "http.response.start", "status": self.status_code}
        try:
            await send({**start, "headers": self.raw_headers})
            async for piece in self._response.aiter_raw():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            # Also where the client left, which cancels this.
            with anyio.CancelScope(shield=True):
                await self._opened.__aexit__(None, None, None)
