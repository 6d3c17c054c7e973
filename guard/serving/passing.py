"""Paths that go to the upstream as they are: `/v1/models`, and what `--pass-through` allows.

All others are 404. A path is compared as it came, before anything is decoded: an encoded slash, a
dot, an empty part or another case of letters would be one path to this server and another one to
the upstream.
"""

import re
from collections.abc import Collection, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from vlmguard.guard.errors import UserError
from vlmguard.guard.serving.faults import Fault
from vlmguard.guard.serving.front import note_of
from vlmguard.guard.serving.relay import relayed
from vlmguard.guard.serving.upstream import Upstream

__all__ = ["Passing", "check_paths"]

_MODELS: Final = "/v1/models"
_PLAIN: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~:@-]+)+")
_BELOW: Final = "/*"


def check_paths(paths: Sequence[str], guarded: Collection[str]) -> None:
    """Refuse paths of `--pass-through` that are none, or would lead around the guard.

    Args:
        paths: The paths; one that ends in `/*` stands for all below it.
        guarded: The paths that the guard protects.

    Raises:
        UserError: One of them may not be allowed.
    """
    for path in paths:
        bare = path.removesuffix(_BELOW)
        if not bare.startswith("/v1/") or not _PLAIN.fullmatch(bare):
            raise UserError(
                f"--pass-through {path}: give a path of the upstream's API that begins with /v1/, "
                f"such as /v1/embeddings, or /v1/files{_BELOW} for all below /v1/files."
            )
        reached = [each for each in guarded if _matches(each.lower(), path.lower())]
        if reached:
            raise UserError(
                f"--pass-through {path}: {', '.join(reached)} would not be guarded then."
            )


class Passing:
    """Sends requests on that nobody guards.

    Args:
        upstream: Where to.
        allowed: Paths, besides those of models.
        guarded: The paths that the guard protects.
    """

    def __init__(
        self, upstream: Upstream, allowed: Sequence[str], guarded: Collection[str]
    ) -> None:
        self._upstream = upstream
        self._allowed = allowed
        self._guarded = frozenset(guarded)

    async def __call__(self, request: Request) -> Response:
        """The upstream's response.

        Raises:
            Fault: The path is not allowed, or the upstream does not answer.
        """
        raw = request.scope.get("raw_path") or request.scope["path"].encode()
        path = raw.decode("latin-1")
        note = note_of(request)
        if path in self._guarded:
            said = "This path takes POST alone."
            raise Fault(405, "method_not_allowed", said, headers={"allow": "POST"})
        if not _PLAIN.fullmatch(path):
            raise _unknown()
        if _matches(path, _MODELS) or _matches(path, f"{_MODELS}{_BELOW}"):
            # A model can also be deleted there.
            if request.method not in ("GET", "HEAD"):
                raise Fault(405, "method_not_allowed", "Models are read with GET alone here.")
            note.endpoint = _MODELS
        elif any(_matches(path, each) for each in self._allowed):
            note.endpoint = "pass-through"
        else:
            raise _unknown()
        query = request.scope["query_string"].decode("latin-1")
        opened = self._upstream.open(
            request.method,
            f"{path.removeprefix('/v1')}{'?' if query else ''}{query}",
            self._upstream.headers(request.scope["headers"]),
            await request.body(),
        )
        return await relayed(opened, {"x-vlmguard-action": "skipped"})


def _matches(path: str, allowed: str) -> bool:
    if allowed.endswith(_BELOW):
        return path.startswith(allowed.removesuffix("*"))
    return path == allowed


def _unknown() -> Fault:
    said = (
        "This server has no such path. A client's base URL ends in /v1; other paths of the "
        "upstream are allowed by --pass-through where the server is started."
    )
    return Fault(404, "unknown_path", said)
