"""`/healthz` and `/readyz`: whether the process lives, and whether the guard can decide.

Neither asks a model: a probe every second would cost more than the traffic.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vlmguard.guard.serving.guarding import Guard

__all__ = ["Ready", "healthy"]


async def healthy(request: Request) -> Response:
    """The process answers."""
    return JSONResponse({"status": "ok"})


class Ready:
    """Whether the guard can decide: its models were found, and its last requests did not all fail.

    Args:
        guard: The guard.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def __call__(self, request: Request) -> Response:
        """200 or 503, and why in a word."""
        why = self._guard.unready
        if why:
            return JSONResponse({"status": "not ready", "reason": why}, 503)
        return JSONResponse({"status": "ready"})
