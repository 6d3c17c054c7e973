"""The server's routes, put together."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vlmguard.guard.errors import UserError
from vlmguard.guard.serving.demo import demo_routes
from vlmguard.guard.serving.dialects.base import Dialect
from vlmguard.guard.serving.dialects.chat import CHAT
from vlmguard.guard.serving.dialects.messages import MESSAGES
from vlmguard.guard.serving.dialects.responses import RESPONSES
from vlmguard.guard.serving.faults import Fault
from vlmguard.guard.serving.front import Front, note_of
from vlmguard.guard.serving.gateway import GATEWAY_PATH, Gateway, gateway_lacks
from vlmguard.guard.serving.guarding import Guard
from vlmguard.guard.serving.health import Ready, healthy
from vlmguard.guard.serving.logs import raised
from vlmguard.guard.serving.metrics import Exposed, make_metrics
from vlmguard.guard.serving.microworld import scenes_route
from vlmguard.guard.serving.passing import Passing, check_paths
from vlmguard.guard.serving.proxy import Proxy
from vlmguard.guard.serving.recorded import Recorded
from vlmguard.guard.serving.recording import Recorder
from vlmguard.guard.serving.rewrite import PATH as REWRITE_PATH
from vlmguard.guard.serving.rewrite import Rewrite
from vlmguard.guard.serving.settings import Settings

__all__ = ["DIALECTS", "endpoints_of", "make_app"]

DIALECTS: Final[tuple[Dialect, ...]] = (CHAT, RESPONSES, MESSAGES)
"""The APIs that are guarded."""

_REST: Final = "/v1/{path:path}"
_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


def make_app(settings: Settings) -> Starlette:
    """The server as an ASGI application.

    Args:
        settings: Its settings.

    Raises:
        UserError: The defense cannot be made of them.
    """
    metrics = make_metrics()
    guard, upstream = Guard(settings, metrics), settings.upstream
    guarded = [dialect.path for dialect in DIALECTS]
    check_paths(settings.pass_through, guarded)
    lacks = gateway_lacks(guard)
    if lacks and upstream is None:
        raise UserError(f"Without --upstream this server is for a gateway, and cannot be: {lacks}")
    gateway = _refusing(lacks) if lacks else Gateway(guard).__call__
    routes = [
        Route("/healthz", healthy),
        Route("/readyz", Ready(guard).__call__),
        Route("/metrics", Exposed(metrics).__call__),
        Route(REWRITE_PATH, Rewrite(guard).__call__, methods=["POST"]),
        Route(GATEWAY_PATH, gateway, methods=["POST"]),
    ]
    if settings.microworld:
        routes.append(scenes_route())
    if settings.demo and upstream is not None:
        if settings.client_keys:
            raise UserError("--demo is for trials: its page has no place for a client's key.")
        routes += demo_routes(guard, upstream)
    if upstream is not None:
        routes += [
            Route(dialect.path, Proxy(guard, upstream, dialect).__call__, methods=["POST"])
            for dialect in DIALECTS
        ]
        passing = Passing(upstream, settings.pass_through, [*guarded, REWRITE_PATH])
        # Last: it takes what nothing else took.
        routes.append(Route(_REST, passing.__call__, methods=_METHODS))

    recorder = Recorder(settings.record, metrics.recorded) if settings.record else None
    checks = settings.shadow and guard.defense.needs_output
    keeping = settings.log_content or recorder is not None or checks
    recording = [Middleware(Recorded, recorder, settings.shadow, checks)] if keeping else []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        try:
            await guard.prepare()
        except UserError as error:
            print(f"vlmguard: {error}", file=sys.stderr, flush=True)
            raise
        except Exception as error:  # the server ends, and its log leaves messages out
            raised("the start", error)
            raise
        yield
        await guard.rest()
        if recorder is not None:
            await asyncio.to_thread(recorder.close)
        if upstream is not None:
            await upstream.close()

    endpoints = [route.path for route in routes if route.path != _REST]
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(Front, settings, metrics, endpoints), *recording],
        exception_handlers={Fault: _told, HTTPException: _unrouted},
    )
    app.state.gateway_lacks = lacks
    # `/v1/models/` would be sent elsewhere, without a word of what was wrong.
    app.router.redirect_slashes = False
    return app


def endpoints_of(app: Starlette) -> list[str]:
    """The paths that an application answers by itself."""
    paths = [route.path for route in app.routes if isinstance(route, Route)]
    return [path for path in paths if path != _REST]


def _refusing(lacks: str) -> Callable[[Request], Awaitable[Response]]:
    async def refuse(request: Request) -> Response:
        raise Fault(501, "not_served", lacks)

    return refuse


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, Fault)
    note_of(request).code = error.code
    return error.response(request.url.path)


async def _unrouted(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        allowed = headers.get("Allow", "")
        said = f"This path takes other methods: {allowed}."
        return await _told(request, Fault(405, "method_not_allowed", said, headers=headers))
    said = "This server has no such path. A client's base URL ends in /v1."
    return await _told(request, Fault(404, "unknown_path", said, headers=headers))
