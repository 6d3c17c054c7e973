"""A server of the guard in this process, with scripted models around it and no network.

async with served("vlmguard", {"rewriter": Scripted(...)}, Answers()) as (client, upstream):
    response = await client.post("/v1/chat/completions", json=...)
    upstream.bodies        # the very bytes that the upstream got
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from support.scripted import Scripted

from vlmguard.guard.serving.app import make_app
from vlmguard.guard.serving.logs import LOGGER
from vlmguard.guard.serving.settings import Settings
from vlmguard.guard.serving.upstream import Upstream

CHAT_PATH = "/v1/chat/completions"
ADDRESS = "http://upstream/v1"
_ANY = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


class Answers:
    """An upstream that answers chat completions, streamed or not, and notes what it got.

    Args:
        text: Its answer; streamed in one chunk a word.
        status: Its status; other than 200 with an error body.
    """

    def __init__(self, text: str = "An answer.", status: int = 200) -> None:
        self.text = text
        self.status = status
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        """Method, path and query of what was not chat completions, as they came."""
        routes = [Route(CHAT_PATH, self._chat, methods=["POST"])]
        self.app = Starlette(routes=[*routes, Route("/{path:path}", self._other, methods=_ANY)])

    @property
    def asked(self) -> list[Any]:
        """The bodies, parsed."""
        return [json.loads(body) for body in self.bodies]

    async def _chat(self, request: Request) -> Response:
        self.bodies.append(await request.body())
        self.headers.append(dict(request.headers))
        if self.status != 200:
            return JSONResponse({"error": {"message": "scripted"}}, self.status)
        if json.loads(self.bodies[-1]).get("stream"):
            return StreamingResponse(self._events(), media_type="text/event-stream")
        message = {"role": "assistant", "content": self.text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        return JSONResponse(
            {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice], "usage": usage}
        )

    async def _other(self, request: Request) -> Response:
        self.bodies.append(await request.body())
        self.headers.append(dict(request.headers))
        query = f"?{request.url.query}" if request.url.query else ""
        self.paths.append(f"{request.method} {request.scope['raw_path'].decode()}{query}")
        return JSONResponse({"object": "list", "data": []}, self.status)

    async def _events(self) -> AsyncIterator[bytes]:
        deltas: list[dict[str, Any]] = [{"role": "assistant"}]
        deltas += [{"content": word} for word in self.text.split(" ")]
        for delta in deltas:
            event = {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
            yield f"data: {json.dumps(event)}\n\n".encode()
        last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        yield f"data: {json.dumps(last)}\n\n".encode()
        yield b"data: [DONE]\n\n"


def would_be(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log of shadow mode says that would have happened; the level must be INFO."""
    lines = [record.getMessage() for record in caplog.records if record.name == LOGGER.name]
    return [line["shadow"] for line in map(json.loads, lines) if "shadow" in line]


@asynccontextmanager
async def served(
    defense: str, roles: Mapping[str, Scripted], upstream: Answers, **settings: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server with this defense.

    Args:
        defense: Its name.
        roles: Its scripted models, by role.
        upstream: The model behind it.
        **settings: Further fields of `Settings`.
    """
    async with started(defense, roles, httpx.ASGITransport(upstream.app), **settings) as app:
        inside = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=inside, base_url="http://guard") as client:
            yield client


@asynccontextmanager
async def started(
    defense: str,
    roles: Mapping[str, Scripted],
    transport: httpx.AsyncBaseTransport,
    client_keys: tuple[str, ...] = (),
    **settings: Any,
) -> AsyncIterator[Starlette]:
    """The same server, as an application.

    Args:
        defense: Its name.
        roles: Its scripted models, by role.
        transport: The way to the model behind it.
        client_keys: As in `Settings`.
        **settings: Further fields of `Settings`.
    """
    app = make_app(
        Settings(
            defense,
            roles={role: model.model for role, model in roles.items()},
            upstream=Upstream(ADDRESS, transport=transport, forwards_keys=not client_keys),
            client_keys=client_keys,
            **settings,
        )
    )
    async with app.router.lifespan_context(app):
        yield app
