"""The least that a proxy can be on our stack: uvicorn, Starlette and httpx, bytes in, bytes out.

python tests/support/load/reverse_proxy.py UPSTREAM_URL PORT
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length"}


def proxy(upstream: str) -> Starlette:
    """The application in front of an upstream's base URL."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=1000)
        async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:
            yield {"client": client}

    async def relay(request: Request) -> StreamingResponse:
        client: httpx.AsyncClient = request.state.client
        headers = [(name, value) for name, value in request.headers.items() if name not in _HOP]
        url = upstream + request.url.path.removeprefix("/v1")
        body = await request.body()
        passed = client.build_request(request.method, url, headers=headers, content=body)
        answer = await client.send(passed, stream=True)
        return StreamingResponse(
            answer.aiter_raw(),
            answer.status_code,
            {name: value for name, value in answer.headers.items() if name != "connection"},
            background=BackgroundTask(answer.aclose),
        )

    return Starlette(routes=[Route("/{path:path}", relay, methods=["POST"])], lifespan=lifespan)


if __name__ == "__main__":
    uvicorn.run(proxy(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
