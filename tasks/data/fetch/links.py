"""Fetches pictures from the addresses where their owners publish them."""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import httpx

from vlmguard.guard.errors import reason_of
from vlmguard.guard.images.prepare import ImageError, prepare_image
from vlmguard.tasks.data.fetch.places import Places
from vlmguard.tasks.data.fetch.progress import Report

__all__ = ["Limits", "fetch_links"]

_AT_A_TIME: Final = 4
_TRIES: Final = 3
_REDIRECTS: Final = 5
_AGAIN: Final = (429, 500, 502, 503, 504)
_NO_IMAGE: Final = ("text/", "application/json", "application/xhtml", "video/", "audio/")


@dataclass(frozen=True)
class Limits:
    """What a picture may cost.

    Attributes:
        size: The most bytes; pictures that people publish have up to about 30 MB.
        seconds: The longest time for it, with all tries and redirects.
        pause: Seconds before the second try; twice as long before the third. A server that names a
            longer time (`Retry-After`) gets that, within `seconds`.
    """

    size: int = 50_000_000
    seconds: float = 120
    pause: float = 2


class _Dead(Exception):
    """A picture that cannot be fetched; the text is the reason."""


class _Busy(_Dead):
    """It may be fetched later."""

    def __init__(self, reason: str, pause: float = 0) -> None:
        super().__init__(reason)
        self.pause = pause


def fetch_links(
    links: Mapping[str, str], at: Places, report: Report, limits: Limits = Limits()
) -> dict[str, str]:
    """Fetch the pictures that are not there yet.

    Args:
        links: Address by file name, relative to the folder.
        at: Where they go.
        report: Takes the progress, in pictures.
        limits: What one picture may cost.

    Returns:
        Why each of the others could not be fetched, by file name.

    Raises:
        UserError: A name leaves the folder; then nothing is fetched.
        OSError: A file cannot be written.
    """
    missing = [name for name in links if not at.there(name)]
    dead: dict[str, str] = {}
    # Owners of pictures (Wikimedia) refuse clients that do not say who they are.
    headers = {"User-Agent": f"vlmguard/{version('vlmguard')} (fetches benchmark data)"}
    with (
        httpx.Client(headers=headers, timeout=min(limits.seconds, 20)) as client,
        ThreadPoolExecutor(_AT_A_TIME) as pool,
    ):
        waiting = {
            pool.submit(_fetch, client, links[name], at.beside / f"link-{number}", limits): name
            for number, name in enumerate(missing)
        }
        try:
            for number, done in enumerate(as_completed(waiting)):
                name = waiting[done]
                report(f"{at.folder.name}: linked pictures", number + 1, len(missing))
                try:
                    at.put(done.result(), name)
                except _Dead as error:
                    dead[name] = str(error)
        finally:
            pool.shutdown(cancel_futures=True)
    return {name: dead[name] for name in missing if name in dead}


def _fetch(client: httpx.Client, url: str, file: Path, limits: Limits) -> Path:
    end = time.monotonic() + limits.seconds
    for tried in range(_TRIES):
        try:
            _download(client, url, file, limits, end)
            prepare_image(file)
        except _Busy as error:
            pause = max(error.pause, limits.pause * 2**tried)
            if tried + 1 == _TRIES or time.monotonic() + pause > end:
                raise
            time.sleep(pause)
        except ImageError as error:
            raise _Dead(f"no readable image ({str(error).partition(': ')[2]})") from error
        else:
            return file
    raise AssertionError("the last try returns or raises")


def _download(client: httpx.Client, url: str, file: Path, limits: Limits, end: float) -> None:
    with _answer(client, url, end) as response, file.open("wb") as to:
        kind = response.headers.get("Content-Type", "")
        if response.status_code in _AGAIN:
            after = response.headers.get("Retry-After", "")
            pause = float(after) if after.isdecimal() else 0
            raise _Busy(f"status {response.status_code}", pause)
        if response.status_code != 200:
            raise _Dead(f"status {response.status_code}")
        if kind.startswith(_NO_IMAGE):
            raise _Dead(f"no image, but {kind.partition(';')[0]}")
        size = 0
        for part in response.iter_bytes():
            size += len(part)
            if size > limits.size:
                raise _Dead(f"larger than {limits.size / 1e6:g} MB")
            if time.monotonic() > end:
                raise _Dead(f"not complete after {limits.seconds:g} seconds")
            to.write(part)


@contextmanager
def _answer(client: httpx.Client, url: str, end: float) -> Iterator[httpx.Response]:
    """The answer at an address, after redirects; none of them may leave https for http."""
    try:
        request = client.build_request("GET", url)
        for _ in range(_REDIRECTS + 1):
            if request.url.scheme not in ("http", "https"):
                raise _Dead(f"an address of the kind {request.url.scheme}:")
            response = client.send(request, stream=True)
            try:
                if response.next_request is None:
                    yield response
                    return
            finally:
                response.close()
            before, request = request, response.next_request
            if before.url.scheme == "https" and request.url.scheme == "http":
                raise _Dead("a redirect from https to http")
            if time.monotonic() > end:
                raise _Dead("redirects that take too long")
        raise _Dead(f"more than {_REDIRECTS} redirects")
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise _Dead(f"no address ({reason_of(error)})") from error
    except httpx.TimeoutException as error:
        raise _Dead("no answer in time") from error
    except httpx.HTTPError as error:
        raise _Busy(f"not reached ({reason_of(error)})") from error
