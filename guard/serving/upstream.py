"""The product's model behind the guard: where requests go on to, and what comes back."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Final

import httpx
from inspect_ai.model import Model, get_model

from vlmguard.guard.redaction import remember
from vlmguard.guard.serving.faults import Fault

__all__ = ["Header", "Upstream", "of_upstream"]

Header = tuple[bytes, bytes]
"""Name and value, as they came."""

_HOP_BY_HOP: Final = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
# What httpx sets by itself.
_SET: Final = frozenset((b"host", b"content-length", b"expect"))
_KEYS: Final = frozenset((b"authorization", b"x-api-key"))
_OURS: Final = b"x-vlmguard-"


class Upstream:
    """An OpenAI-compatible API.

    Args:
        base_url: Its base URL, with `/v1`.
        key: The key for it; by default a client's own Authorization header goes on to it.
        transport: How it is reached; the network by default.
        timeout: Seconds without a byte after which it is given up.
        forwards_keys: Whether a client's key is meant for it, and not for the guard's server.
        questions: Who answers a defense's own questions to the model, where the upstream has no
            chat completions; by default the upstream.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout: float = 600.0,
        forwards_keys: bool = True,
        questions: Model | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._key = key
        self._forwards_keys = forwards_keys and not key
        self._questions = questions
        if key:
            remember({"api_key": key})
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
        # Not a client of httpx: that one would keep the cookies of answers, and send those of one
        # of our clients with the requests of another.
        self._transport = transport or httpx.AsyncHTTPTransport(limits=limits, trust_env=False)
        self._timeout = httpx.Timeout(timeout, connect=10.0).as_dict()

    def headers(self, asked: Iterable[Header], plain: bool = False) -> list[Header]:
        """The headers that go on with a request.

        Args:
            asked: The client's.
            plain: Whether the answer is read here, so that it may come in no encoding, of which
                the client may know more than we do.
        """
        dropped = _SET if self._forwards_keys else _SET | _KEYS
        given = _end_to_end(asked)
        names = {name for name, _ in given}
        kept = [header for header in given if header[0] not in dropped]
        if plain:
            kept = [header for header in kept if header[0] != b"accept-encoding"]
        # Without this, an answer might come in an encoding that the client cannot read.
        if plain or b"accept-encoding" not in names:
            kept.append((b"accept-encoding", b"identity"))
        if not self._key:
            return kept
        # Our key goes the way of the client's. Anthropic's API has two; this one is documented.
        if b"authorization" not in names and names & {b"x-api-key", b"anthropic-version"}:
            return [*kept, (b"x-api-key", self._key.encode())]
        return [*kept, (b"authorization", f"Bearer {self._key}".encode())]

    @asynccontextmanager
    async def open(
        self, method: str, path: str, headers: list[Header], body: bytes
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
        request = httpx.Request(
            method,
            f"{self.base_url}{path}",
            headers=headers,
            content=body,
            extensions={"timeout": self._timeout},
        )
        try:
            response = await self._transport.handle_async_request(request)
        except httpx.TimeoutException:
            raise Fault(504, "upstream_timeout", "The model behind the guard is silent.") from None
        except httpx.HTTPError as error:
            said = f"The model behind the guard cannot be reached ({type(error).__name__})."
            raise Fault(502, "upstream_unreachable", said) from None
        response.request = request
        try:
            yield response
        finally:
            await response.aclose()

    def model(self, name: str, headers: Mapping[str, str]) -> Model:
        """The same model for a defense's own questions, put to its chat completions.

        Args:
            name: Its name in requests.
            headers: The client's, whose key it may need.
        """
        if self._questions is not None:
            return self._questions
        kind, _, key = headers.get("authorization", "").partition(" ")
        given = key.strip() if kind.lower() == "bearer" else ""
        own = (given or headers.get("x-api-key", "")) if self._forwards_keys else ""
        return _model(name or "unnamed", self.base_url, self._key or own or "none")

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.aclose()


@lru_cache(maxsize=64)
def _model(name: str, base_url: str, key: str) -> Model:
    # A client's key is not remembered for redaction: there is no end of clients. No error's text
    # goes anywhere.
    # Inspect's `openai/` takes any name that it does not know for a new model of OpenAI's, which
    # takes no temperature, and some names for other services than the upstream.
    return get_model(f"openai-api/upstream/{name}", base_url=base_url, api_key=key, memoize=False)


def of_upstream(headers: Iterable[Header]) -> list[Header]:
    """The headers of the upstream's response that go to the client.

    Args:
        headers: The upstream's.
    """
    return _end_to_end(headers)


def _end_to_end(headers: Iterable[Header]) -> list[Header]:
    """Headers without those of one connection, and those that only this server may write."""
    lowered = [(name.lower(), value) for name, value in headers]
    named = {
        word.strip().lower()
        for name, value in lowered
        if name == b"connection"
        for word in value.split(b",")
    }
    return [
        (name, value)
        for name, value in lowered
        if name not in _HOP_BY_HOP and name not in named and not name.startswith(_OURS)
    ]
