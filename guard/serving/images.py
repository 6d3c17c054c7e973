"""What a client may give as an image: a picture in a data URI, or an address that may be fetched.

Defenses take a string image that is no data URI for the path of a file. So a client's string must
pass here first, those of earlier turns too, and what comes out is data URIs alone. They are for the
guard; the upstream gets what the client sent.
"""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

import anyio
from anyio import to_thread
from PIL import Image

from vlmguard.guard.serving.base64_file import Base64File
from vlmguard.guard.serving.faults import Fault
from vlmguard.guard.serving.fetching import ImageFetcher, NotFetched

__all__ = ["ImagePolicy", "ImageReference", "checked_images"]

FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""Pillow opens no others here: it reads dozens, and model APIs take the first four."""

_DATA_URI: Final = re.compile(r"data:image/[A-Za-z0-9.+-]{1,40};base64,")
_THREAD_FROM: Final = 1_000_000
"""Characters of all images of a request from which on another thread looks at them."""


@dataclass(frozen=True)
class ImagePolicy:
    """How many images a request may have, and how large they may be.

    Attributes:
        count: The most images of a request, with those of its earlier turns.
        max_bytes: The most bytes of an image's file.
        max_pixels: The most pixels of an image, as its header says.
    """

    count: int = 8
    max_bytes: int = 20_000_000
    max_pixels: int = 40_000_000


@dataclass(frozen=True)
class ImageReference:
    """An image as a client gives it.

    Attributes:
        value: What stands where a URL should.
        number: Its number in the request, from 1, for errors.
        place: Where it stands in the body (`messages.2.content.0`); None if that is not known.
    """

    value: str
    number: int
    place: str | None = None


async def checked_images(
    references: Sequence[ImageReference], policy: ImagePolicy, fetcher: ImageFetcher | None
) -> list[str]:
    """The images of a request as data URIs, in order.

    All that can be refused without fetching is refused before anything is fetched.

    Args:
        references: All images of the request, in order.
        policy: The limits.
        fetcher: Fetches linked images; None if none are fetched.

    Raises:
        Fault: One of them may not be used. The error names its place, and nothing of its content:
            `invalid_image`, `image_scheme`, `remote_image` (it is an address, and may not be
            fetched) and `image_not_fetched` (400), `too_many_images` and `image_too_large` (413).
    """
    if len(references) > policy.count:
        said = f"{len(references)} images in one request; this server takes {policy.count}."
        raise Fault(413, "too_many_images", said)
    size = sum(len(each.value) for each in references)
    if size < _THREAD_FROM:
        linked = _linked(references, policy, fetcher)
    else:
        linked = await to_thread.run_sync(_linked, references, policy, fetcher)
    fetched = await _fetched(linked, policy, fetcher) if fetcher and linked else {}
    return [fetched.get(each.value, each.value) for each in references]


def _linked(
    references: Sequence[ImageReference], policy: ImagePolicy, fetcher: ImageFetcher | None
) -> list[ImageReference]:
    """Those that are to be fetched, each address once; all others were looked at."""
    linked: dict[str, ImageReference] = {}
    for each in references:
        if each.value.startswith("https://"):
            if fetcher is None:
                said = "linked images are not fetched by this server; send a data URI"
                raise _refused("remote_image", said, each)
            linked.setdefault(each.value, each)
        elif match := _DATA_URI.match(each.value):
            content = _readable(each.value[match.end() :], policy, each)
            _media_type(content, policy, each)
        else:
            said = "neither a data URI of an image (data:image/...;base64,...) nor an https address"
            raise _refused("image_scheme", said, each)
    return list(linked.values())


def _readable(payload: str, policy: ImagePolicy, each: ImageReference) -> BinaryIO:
    # 4 characters are 3 bytes, so what is far too large is not read.
    if len(payload) * 3 // 4 - 2 > policy.max_bytes:
        raise _too_many_bytes(policy, each)
    try:
        content = Base64File(payload)
    except ValueError:
        said = "its base64 is not complete, or has line breaks or characters of another alphabet"
        raise _refused("invalid_image", said, each) from None
    if content.size > policy.max_bytes:
        raise _too_many_bytes(policy, each)
    return io.BufferedReader(content)


def _media_type(content: BinaryIO, policy: ImagePolicy, each: ImageReference) -> str:
    """The media type of a picture whose header was looked at; no pixel is decoded.

    Raises:
        Fault: It is too large, or no picture.
    """
    too_large = _refused("image_too_large", f"more than {policy.max_pixels:,} pixels", each)
    try:
        with Image.open(content, formats=FORMATS) as picture:
            width, height = picture.size
            # The format MPO, which some phones write, is JPEG with previews after the picture.
            media_type = Image.MIME["JPEG" if picture.format == "MPO" else picture.format or ""]
            if not width * height:
                raise ValueError("no pixels")
    except Image.DecompressionBombError:
        raise too_large from None
    # Pillow raises almost any exception on malformed files.
    except Exception:
        said = f"not a readable picture ({', '.join(FORMATS)})"
        raise _refused("invalid_image", said, each) from None
    if width * height > policy.max_pixels:
        raise too_large
    return media_type


async def _fetched(
    linked: Sequence[ImageReference], policy: ImagePolicy, fetcher: ImageFetcher
) -> dict[str, str]:
    """The data URI of each address; of several that fail, the first one is refused."""
    uris: dict[str, str] = {}
    refused: dict[int, Fault] = {}

    async def fetch(number: int, each: ImageReference) -> None:
        try:
            content = await fetcher.fetch(each.value)
            if len(content) > policy.max_bytes:
                raise _too_many_bytes(policy, each)
            media_type = _media_type(io.BytesIO(content), policy, each)
        except NotFetched as error:
            refused[number] = _refused(error.code, f"not fetched: {error}", each)
        except Fault as error:
            refused[number] = error
        else:
            encoded = base64.b64encode(content).decode()
            uris[each.value] = f"data:{media_type};base64,{encoded}"

    async with anyio.create_task_group() as group:
        for number, each in enumerate(linked):
            group.start_soon(fetch, number, each)
    if refused:
        raise refused[min(refused)]
    return uris


def _too_many_bytes(policy: ImagePolicy, each: ImageReference) -> Fault:
    return _refused("image_too_large", f"more than {policy.max_bytes:,} bytes", each)


def _refused(code: str, said: str, each: ImageReference) -> Fault:
    status = 413 if code == "image_too_large" else 400
    place = f", at {each.place}" if each.place else ""
    return Fault(status, code, f"Image {each.number}{place}: {said}.", each.place)
