"""The inputs of a leak check: rows of training data and items of test sets."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from vlmguard.guard.files import read_bytes
from vlmguard.guard.images.prepare import ImageError, from_data_uri, to_data_uri
from vlmguard.training.dataset.fingerprints import Fingerprint, fingerprint


@dataclass(frozen=True)
class Item:
    """A row of training data, or an item of a test set.

    Attributes:
        id: Its name.
        image_id: Name of the image within its source (`source/folder/x.png`); empty for a test item
            that is a text alone.
        text: The request; empty if only the image counts.
        image: The image file, if there is one.
        sha256: SHA-256 of the image file, once it has been read.
        print: The image's fingerprint, once it has been read.
        pair: Name of the subject of image and text, if the data have one.
    """

    id: str
    image_id: str
    text: str
    image: Path | None = None
    sha256: str | None = None
    print: Fingerprint | None = None
    pair: str | None = None


def with_images(items: list[Item]) -> list[Item]:
    """Read the images that exist.

    Args:
        items: Items with `image` paths.

    Returns:
        The items in the same order; `sha256` and `print` are set if the image exists and can be
        decoded.

    Raises:
        UserError: An image exists but cannot be read.
    """
    # Unlike Path.is_file(), this takes names of any length.
    paths = {item.image for item in items if item.image and os.path.isfile(item.image)}

    # Threads help, since Pillow decodes outside the interpreter lock.
    with ThreadPoolExecutor() as pool:
        read = dict(zip(paths, pool.map(_read_image, paths), strict=True))
    filled = []
    for item in items:
        found = read.get(item.image) if item.image is not None else None
        filled.append(replace(item, sha256=found[0], print=found[1]) if found else item)
    return filled


def _read_image(path: Path) -> tuple[str, Fingerprint] | None:
    data = read_bytes(path, "Make it readable, or remove it.")
    try:
        picture = from_data_uri(to_data_uri(data))
    except ImageError:
        return None
    return hashlib.sha256(data).hexdigest(), fingerprint(picture)
