"""The product's model behind the guard: where requests go on to, and what comes back."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Final

import httpx
from inspect_ai.model import Model, get_model

from vlmguard.guard.redaction import remember
from vlmguard.guard.serving.faults import Fault

__all__ = ["Upstream", "end_to_end"]

_HOP_BY_HOP: Final = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
# Those of one connection, and those that httpx sets by itself.
_OWN: Final = _HOP_BY_HOP | {"host", "content-length", "accept-encoding", "expect"}


class Upstream:
    """An OpenAI-compatible API.

    Args:
        base_url: Its base URL, with `/v1`.
        key: The key for it; by default a client's own Authorization header goes on to it.
        transport: How it is reached; the network by default.
        timeout: Seconds without a byte after which it is given up.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout: float = 600.0,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._key = key
        if key:
            remember({"api_key": key})
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
        self.client = httpx.AsyncClient(
            transport=transport,
            limits=limits,
            timeout=httpx.Timeout(timeout, connect=10.0),
            trust_env=False,
        )

    def headers(self, asked: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """The headers that go on with a request.

        Args:
            asked: The client's.
        """
        kept = [
            (name, value)
            for name, value in end_to_end(asked)
            if not (self._key and name == "authorization")
        ]
        return [*kept, ("authorization", f"Bearer {self._key}")] if self._key else kept

    @asynccontextmanager
    async def open(
        self, method: str, path: str, headers: list[tuple[str, str]], body: bytes
    ) -> AsyncIterator[httpx.Response]:
        """A request, until its response has been read or its reader has left.

        Args:
            method: The method.
            path: The path behind `/v1`, with its query.
            headers: As from `headers`.
            body: The body.

        Raises:
            Fault: It cannot be reached, or does not answer.
        """
        request = self.client.build_request(
            method, f"{self.base_url}{path}", headers=headers, content=body
        )
        try:
            response = await self.client.send(request, stream=True)
        except httpx.TimeoutException:
            raise Fault(504, "upstream_timeout", "The model behind the guard is silent.") from None
        except httpx.HTTPError as error:
            said = f"The model behind the guard cannot be reached ({type(error).__name__})."
            raise Fault(502, "upstream_unreachable", said) from None
        try:
            yield response
        finally:
            await response.aclose()

    def model(self, name: str, headers: Mapping[str, str]) -> Model:
        """The same model for a defense's own questions.

        Args:
            name: Its name in requests.
            headers: The client's, whose key it may need.
        """
        given = headers.get("authorization", "").removeprefix("Bearer ").strip()
        return _model(name or "unnamed", self.base_url, self._key or given or "none")

    async def close(self) -> None:
        """Close all connections."""
        await self.client.aclose()


@lru_cache(maxsize=64)
def _model(name: str, base_url: str, key: str) -> Model:
    remember({"api_key": key})
    return get_model(
        f"openai/{name}", base_url=base_url, api_key=key, responses_api=False, memoize=False
    )


def end_to_end(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Headers without those of one connection, names in lower case.

    Args:
        headers: Names and values, as they came.
    """
    lowered = [(name.lower(), value) for name, value in headers]
    named = {
        word.strip().lower()
        for name, value in lowered
        if name == "connection"
        for word in value.split(",")
    }
    return [(name, value) for name, value in lowered if name not in _OWN and name not in named]
