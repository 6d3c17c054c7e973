"""Altered copies of images, for defenses that show the target something else than the user sent.

    pictures = await altered(conversation.images, lambda picture: picture.rotate(10))
    messages = conversation.with_images(pictures)

A change that draws random numbers takes them from a generator of its own, seeded by the sample's
name, its epoch and the copy's number (`random.Random(f"{name}/{epoch}/{number}")`): images are
changed in their order, so a rerun makes the same bytes, and Inspect's cache knows them.
"""

import io
from collections.abc import Callable, Sequence

from anyio import to_thread
from PIL import Image

from vlmguard.guard.images.prepare import MAX_BASE64, from_data_uri, to_data_uri

__all__ = ["altered"]

_QUALITY = 95


async def altered(images: Sequence[str], change: Callable[[Image.Image], Image.Image]) -> list[str]:
    """Change images, in a thread, so that other samples go on.

    Args:
        images: Data URIs, or paths as a sample has them.
        change: Gives a new picture for one of mode RGB; called for one image after another.

    Returns:
        A data URI for each: PNG, or JPEG (quality 95) where a PNG has more bytes than model APIs
        take or more than 4 million pixels.

    Raises:
        ImageError: An image cannot be decoded.
    """
    return await to_thread.run_sync(lambda: [_altered(image, change) for image in images])


def _altered(image: str, change: Callable[[Image.Image], Image.Image]) -> str:
    picture = change(from_data_uri(to_data_uri(image)))
    uri = to_data_uri(picture)
    if len(uri) <= MAX_BASE64:
        return uri
    # Noise, and photos that were JPEG files, take many times the bytes as PNG.
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, format="JPEG", quality=_QUALITY)
    return to_data_uri(buffer.getvalue())
