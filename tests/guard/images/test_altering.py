"""Altered copies of images: what a change gets, and what becomes of its picture."""

import random
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from vlmguard.guard.images.altering import altered
from vlmguard.guard.images.prepare import MAX_BASE64, ImageError, from_data_uri, to_data_uri


def halves() -> Image.Image:
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", (8, 4), "red")
    picture.paste("blue", (4, 0, 8, 4))
    return picture


async def test_files_and_data_uris_are_changed_in_their_order(tmp_path: Path) -> None:
    halves().save(tmp_path / "a.png")
    grey = Image.new("L", (3, 3), 100)
    seen: list[tuple[str, tuple[int, int]]] = []

    def mirrored(picture: Image.Image) -> Image.Image:
        seen.append((picture.mode, picture.size))
        return ImageOps.mirror(picture)

    file, other = str(tmp_path / "a.png"), to_data_uri(grey)
    one, two = await altered([file, other], mirrored)
    assert seen == [("RGB", (8, 4)), ("RGB", (3, 3))]
    assert one.startswith("data:image/png;base64,")
    assert from_data_uri(one).tobytes() == ImageOps.mirror(halves()).tobytes()
    assert from_data_uri(two).getpixel((1, 1)) == (100, 100, 100)
    assert await altered([file, other], mirrored) == [one, two]  # the same bytes again
    assert await altered([], mirrored) == []


async def test_what_is_too_large_as_png_goes_as_jpeg() -> None:
    rng = random.Random(7)
    noise = Image.frombytes("RGB", (1200, 1200), rng.randbytes(3 * 1200 * 1200))
    (uri,) = await altered([to_data_uri(halves())], lambda picture: noise)
    assert uri.startswith("data:image/jpeg;base64,")
    assert len(uri) < MAX_BASE64
    assert from_data_uri(uri).size == noise.size


async def test_what_is_no_image_is_named() -> None:
    with pytest.raises(ImageError, match=r"nowhere\.png: no such file"):
        await altered(["nowhere.png"], lambda picture: picture)
