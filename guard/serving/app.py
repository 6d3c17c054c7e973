"""The server's routes, put together."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vlmguard.guard.errors import UserError
from vlmguard.guard.serving.dialects.chat import CHAT
from vlmguard.guard.serving.faults import Fault
from vlmguard.guard.serving.gateway import GATEWAY_PATH, Gateway, gateway_lacks
from vlmguard.guard.serving.guarding import Guard
from vlmguard.guard.serving.microworld import scenes_route
from vlmguard.guard.serving.proxy import Proxy
from vlmguard.guard.serving.settings import Settings

__all__ = ["make_app"]


def make_app(settings: Settings) -> Starlette:
    """The server as an ASGI application.

    Args:
        settings: Its settings.

    Raises:
        UserError: The defense cannot be made of them.
    """
    guard, upstream = Guard(settings), settings.upstream
    routes = [Route("/healthz", _healthy)]
    if upstream is not None:
        routes.append(Route(CHAT.path, Proxy(guard, upstream, CHAT).__call__, methods=["POST"]))

    lacks = gateway_lacks(guard)
    if lacks and upstream is None:
        raise UserError(f"No --upstream is given, so a gateway alone is served, and {lacks}")
    routes.append(
        Route(
            GATEWAY_PATH, _refusing(lacks) if lacks else Gateway(guard).__call__, methods=["POST"]
        )
    )
    if settings.microworld:
        routes.append(scenes_route())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        if upstream is not None:
            await upstream.close()

    return Starlette(
        routes=routes, lifespan=lifespan, exception_handlers={Fault: _told, Exception: _failed}
    )


def _refusing(lacks: str) -> Callable[[Request], Awaitable[Response]]:
    async def refuse(request: Request) -> Response:
        raise Fault(501, "not_served", lacks)

    return refuse


async def _healthy(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, Fault)
    return JSONResponse(error.body(), error.status, headers=error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    return JSONResponse(Fault(500, "internal", "The guard failed.").body(), 500)
