"""Fetches the pictures that clients link, for the guard alone, and only where it is allowed.

A name is resolved here, its addresses are checked, and the connection goes to the very address that
was checked: a name that means something else a moment later reaches nothing else. Each redirect is
an address of its own, checked as the first one. Nothing is sent but the request itself: no cookies,
no keys, no proxy of the environment.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from typing import Final

import anyio
import httpx

from vlmguard.guard.package import PACKAGE
from vlmguard.guard.serving.addresses import is_public

__all__ = ["HOST_NAME", "ImageFetcher", "NotFetched", "Resolver", "resolve"]

Resolver = Callable[[str], Awaitable[list[tuple[str, int]]]]
"""Gives the addresses of a host name, each with the port to connect to; OSError if it has none."""

HOST_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)+[a-z0-9-]*[a-z][a-z0-9-]*"
)
"""A host name with a dot, in lower case; a number (127.0.0.1, 0x7f.1) is none."""

# A resolver that hangs keeps its thread after its request has ended, so it gets none of those with
# which the server reaches the model.
_RESOLVING: Final = ThreadPoolExecutor(8, "resolve-images")
_PORT: Final = 443
_REDIRECTS: Final = 3
_ADDRESSES: Final = 4
_HEADERS: Final = {
    "User-Agent": f"{PACKAGE}/{version(PACKAGE)}",
    "Accept": "image/*",
    # What is compressed may be far larger than what was sent.
    "Accept-Encoding": "identity",
    "Connection": "close",
}


class NotFetched(Exception):
    """A picture that was not fetched.

    Args:
        reason: Why, without its address or content, and without what could tell a client about the
            server's own network.
        code: A word for programs: `image_not_fetched`, `image_too_large`, or `remote_image` if its
            host is none of those that the server's operator named.
    """

    def __init__(self, reason: str, code: str = "image_not_fetched") -> None:
        super().__init__(reason)
        self.code = code


async def resolve(host: str) -> list[tuple[str, int]]:
    """The addresses that this machine's resolver has for a host name, for https.

    Raises:
        OSError: It has none.
    """
    look_up = partial(socket.getaddrinfo, host, _PORT, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_RESOLVING, look_up)
    return [(str(where[0]), _PORT) for *_, where in found]


@dataclass(frozen=True)
class ImageFetcher:
    """Fetches pictures by https.

    Attributes:
        hosts: The host names that may be fetched from, in lower case; None for any.
        max_bytes: The most bytes of a picture.
        seconds: The longest time for a picture, with its redirects.
        resolver: Gives the addresses of a host name.
        allowed: Whether an address may be connected to.
        tls: What certificates are checked against.
    """

    hosts: frozenset[str] | None
    max_bytes: int
    seconds: float
    resolver: Resolver = resolve
    allowed: Callable[[str], bool] = is_public
    tls: ssl.SSLContext = field(default_factory=httpx.create_ssl_context)

    async def fetch(self, url: str) -> bytes:
        """The bytes behind an address; whether they are a picture is not looked at.

        Args:
            url: The address as a client wrote it.

        Raises:
            NotFetched: It may not be fetched, or cannot be.
        """
        try:
            with anyio.fail_after(self.seconds):
                return await self._fetch(url)
        except TimeoutError as error:
            raise NotFetched(f"it did not come within {self.seconds:g} seconds") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotFetched("its server does not answer as one should") from error

    async def _fetch(self, url: str) -> bytes:
        target = self._checked(url)
        for _ in range(_REDIRECTS + 1):
            async with self._answer(target) as response:
                if not response.has_redirect_location:
                    return await self._content(response)
                target = self._checked(str(target.join(response.headers["Location"])))
        raise NotFetched(f"more than {_REDIRECTS} redirects")

    def _checked(self, url: str) -> httpx.URL:
        """The address with its host in plain form, if it may be fetched at all."""
        try:
            target = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise NotFetched("its address cannot be read") from error
        if target.scheme != "https":
            raise NotFetched("it leads to an address that is not https")
        if target.userinfo or target.port is not None:
            raise NotFetched("its address has a user name or a port")
        host = target.raw_host.decode("ascii").removesuffix(".")
        if not HOST_NAME.fullmatch(host):
            raise NotFetched("its address has no host name")
        if self.hosts is not None and host not in self.hosts:
            raise NotFetched("this server fetches nothing from its host", "remote_image")
        return target.copy_with(host=host)

    @asynccontextmanager
    async def _answer(self, target: httpx.URL) -> AsyncIterator[httpx.Response]:
        """The answer of the first of the host's public addresses that can be connected to."""
        host = target.raw_host.decode("ascii")
        addresses = await self._addresses(host)
        timeout = httpx.Timeout(self.seconds, connect=self.seconds / len(addresses))
        # A client of httpx would keep cookies; a connection that is kept would be used for another
        # host at the same address, whose certificate was never checked.
        async with httpx.AsyncHTTPTransport(
            verify=self.tls, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
        ) as transport:
            response = None
            for address, port in addresses:
                request = httpx.Request(
                    "GET",
                    target.copy_with(host=address, port=port),
                    headers={"Host": host, **_HEADERS},
                    extensions={
                        "sni_hostname": host,
                        "timeout": timeout.as_dict(),
                    },
                )
                try:
                    response = await transport.handle_async_request(request)
                    break
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    continue
            if response is None:
                raise NotFetched("its host cannot be reached")
            try:
                yield response
            finally:
                await response.aclose()

    async def _addresses(self, host: str) -> list[tuple[str, int]]:
        try:
            found = await self.resolver(host)
        except (OSError, UnicodeError):
            found = []
        # The same words where a name is unknown and where it is a private one: a client must not
        # learn which names there are in the server's own network.
        public = [each for each in dict.fromkeys(found) if self.allowed(each[0])]
        if not public:
            raise NotFetched("its host has no public address")
        return public[:_ADDRESSES]

    async def _content(self, response: httpx.Response) -> bytes:
        if response.status_code != 200:
            raise NotFetched(f"its server answers with status {response.status_code}")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise NotFetched("its server compresses it, unasked")
        content = bytearray()
        async for part in response.aiter_raw():
            content += part
            if len(content) > self.max_bytes:
                raise NotFetched(f"it has more than {self.max_bytes:,} bytes", "image_too_large")
        return bytes(content)
