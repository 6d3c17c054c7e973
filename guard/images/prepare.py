"""Checks images and brings them into a form that every model API accepts, as data URIs.

Model APIs and processors disagree about palettes, transparency, 16 bit, CMYK and animation, about
colour profiles and about turning a photo as its EXIF data says. So any image that is not a plain
upright 8-bit sRGB or grey picture is converted once, here, and the conversion is noted. Every model
then sees the same picture, and sees it as people do.
"""

import base64
import hashlib
import io
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, UnidentifiedImageError

from vlmguard.guard.images.decoding import Colour, decode, plain_picture

__all__ = [
    "DEFAULT_RULES",
    "MAX_BASE64",
    "MAX_SIDE",
    "ImageError",
    "ImageRules",
    "PreparedImage",
    "from_data_uri",
    "prepare_image",
    "prepare_images",
    "size_of",
    "to_data_uri",
    "to_fitting_uri",
]

MAX_SIDE: Final = 8_000
"""Model APIs refuse a picture with more pixels a side (Anthropic's limit)."""

MAX_BASE64: Final = 5_000_000
"""They refuse a picture with more bytes of base64."""

_LOSSLESS_PIXELS: Final = 4_000_000
# Some phones write MPO: a JPEG file with previews after the picture.
_MIME_BY_FORMAT: Final = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "WEBP": "image/webp",
}
_SUFFIXES_BY_FORMAT: Final = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "MPO": (".jpg", ".jpeg"),
    "WEBP": (".webp",),
}
_QUALITY: Final = 95


class ImageError(ValueError):
    """An image that cannot be used; the message names the file and the reason."""


@dataclass(frozen=True)
class ImageRules:
    """How pictures are prepared.

    Attributes:
        colour: Whether colour profiles other than sRGB are applied (`srgb`) or ignored (`as_is`),
            as model APIs, processors and most authors' code do.
        fit: Whether pictures beyond `MAX_SIDE` or `MAX_BASE64` are scaled down.
    """

    colour: Colour = "srgb"
    fit: bool = False


DEFAULT_RULES: Final = ImageRules()


@dataclass(frozen=True)
class PreparedImage:
    """An image that was decoded and can be sent.

    Attributes:
        reference: The file's path where it can be sent as it is, else a data URI.
        sha256: SHA-256 of the file's bytes (64 hex digits).
        notes: The changes ("CMYK to RGB", ...).
        size: Width and height in pixels, as it is sent.
    """

    reference: str
    sha256: str
    notes: tuple[str, ...]
    size: tuple[int, int]


def prepare_image(path: Path, rules: ImageRules = DEFAULT_RULES) -> PreparedImage:
    """Decode an image file completely, and convert it if some models would not accept it.

    Args:
        path: An image file of any format that Pillow reads.
        rules: How to prepare it.

    Returns:
        The path itself for a plain PNG, JPEG or WEBP file with the right
        suffix, otherwise a data URI with the converted picture.

    Raises:
        ImageError: Missing, truncated, not an image, or far too large.
    """
    data = _read(path)
    with _naming(str(path)):
        picture, notes = decode(data, rules.colour)
        sha256 = hashlib.sha256(data).hexdigest()
        file_format = picture.format or ""
        mime = _MIME_BY_FORMAT.get(file_format)
        plain = not notes and mime is not None
        if rules.fit:
            uri, size, more = _fitted(
                picture, _uri(mime, data) if plain and mime else _encode(picture)
            )
            if more:
                return PreparedImage(uri, sha256, (*notes, *more), size)
        if not plain or mime is None:
            uri = _encode(picture)
            if not notes:
                notes = (f"{file_format} to {'JPEG' if _is_jpeg(uri) else 'PNG'}",)
            elif _is_jpeg(uri):
                notes = (*notes, "as JPEG")
            return PreparedImage(uri, sha256, notes, picture.size)
    if path.suffix.lower() not in _SUFFIXES_BY_FORMAT[file_format]:
        # The bytes are fine, but Inspect derives the media type from the suffix.
        suffix = path.suffix or "without a suffix"
        noted = (f"{file_format} named {suffix}",)
        return PreparedImage(_uri(mime, data), sha256, noted, picture.size)
    return PreparedImage(str(path), sha256, (), picture.size)


def prepare_images(
    paths: Collection[Path], rules: ImageRules = DEFAULT_RULES
) -> dict[Path, PreparedImage | ImageError]:
    """Prepare many images as `prepare_image` does; an image that cannot be used gives its error."""

    def attempt(path: Path) -> PreparedImage | ImageError:
        try:
            return prepare_image(path, rules)
        except ImageError as error:
            return error

    # Threads help, since Pillow decodes outside the interpreter lock.
    with ThreadPoolExecutor() as pool:
        return dict(zip(paths, pool.map(attempt, paths), strict=True))


def to_data_uri(image: "Image.Image | bytes | str | Path") -> str:
    """Turn a picture in any form into a data URI.

    Args:
        image: Pillow image, encoded bytes, a data URI (returned as it is), or
            the path of a file.

    Returns:
        A `data:image/...;base64,` URI.

    Raises:
        ImageError: The picture cannot be decoded.
    """
    if isinstance(image, Image.Image):
        with _naming("picture"):
            # Work on a copy: a look for transparency or frames would move the caller's picture to
            # another frame.
            return _encode(plain_picture(image.copy(), "srgb")[0])
    if isinstance(image, str) and image.startswith("data:"):
        return image
    if isinstance(image, str) and image.startswith(("http://", "https://")):
        raise ImageError(f"{image}: addresses are not fetched; give the file or its bytes")
    if isinstance(image, bytes):
        name, data = f"{len(image)} bytes", image
    else:
        name, data = str(image), _read(Path(image))
    with _naming(name):
        picture, notes = decode(data, "srgb")
        mime = _MIME_BY_FORMAT.get(picture.format or "")
        return _encode(picture) if notes or mime is None else _uri(mime, data)


def to_fitting_uri(image: Image.Image) -> tuple[str, tuple[str, ...]]:
    """A picture as a data URI that model APIs take, and the changes ("as JPEG", "scaled to ...").

    Args:
        image: The picture; it is written without a loss where that is small enough.
    """
    with _naming("picture"):
        picture = plain_picture(image.copy(), "srgb")[0]
        uri, _, changes = _fitted(picture, _encode(picture))
    return uri, changes or (("as JPEG",) if _is_jpeg(uri) else ())


def from_data_uri(uri: str) -> Image.Image:
    """Decode a data URI into an 8-bit RGB picture.

    Args:
        uri: A `data:image/...;base64,` URI.

    Returns:
        The picture in mode RGB; the first frame of an animation, transparency laid on
        white, at most `decoding.MAX_PIXELS` pixels, colours as they are.

    Raises:
        ImageError: Not a base64 data URI, or the picture cannot be decoded.
    """
    payload = _payload(uri)
    with _naming("data URI"):
        # The maker of the data URI converted the colours already; the model must see these numbers.
        picture, _ = decode(base64.b64decode(payload), "as_is")
        return picture.convert("RGB")


def size_of(uri: str) -> tuple[int, int]:
    """Width and height in pixels of a picture in a data URI, without decoding it.

    Raises:
        ImageError: Not a base64 data URI of a picture.
    """
    payload = _payload(uri)
    with _naming("data URI"), Image.open(io.BytesIO(base64.b64decode(payload))) as picture:
        return picture.size


def _payload(uri: str) -> str:
    head, _, payload = uri.partition(",")
    if not head.startswith("data:") or not head.endswith(";base64"):
        raise ImageError(f"not a base64 data URI: {uri[:40]}...")
    return payload


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise ImageError(f"{path}: no such file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Turn any error about a picture into an `ImageError` that names it."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: {error}") from error
    # Decoders raise almost any exception on malformed files.
    except Exception as error:
        raise ImageError(f"{name}: not a readable image ({error})") from error


def _encode(picture: Image.Image, lossless: bool = True) -> str:
    buffer = io.BytesIO()
    # A large photo as PNG would exceed the upload limits of model APIs.
    if not lossless or picture.width * picture.height > _LOSSLESS_PIXELS:
        picture.convert("RGB").save(buffer, format="JPEG", quality=_QUALITY)
        return _uri("image/jpeg", buffer.getvalue())
    picture.convert("RGB").save(buffer, format="PNG")
    return _uri("image/png", buffer.getvalue())


def _fitted(picture: Image.Image, uri: str) -> tuple[str, tuple[int, int], tuple[str, ...]]:
    """A picture within the limits of model APIs, its size, and the changes."""
    notes = []
    if max(picture.size) > MAX_SIDE:
        picture, note = _scaled(picture, MAX_SIDE / max(picture.size))
        notes.append(note)
        uri = _encode(picture)
    if len(uri) > MAX_BASE64:
        notes.append(f"{len(uri)} bytes of base64 as JPEG")
        uri = _encode(picture, lossless=False)
    while len(uri) > MAX_BASE64:
        picture, note = _scaled(picture, 0.95 * (MAX_BASE64 / len(uri)) ** 0.5)
        notes.append(note)
        uri = _encode(picture, lossless=False)
    return uri, picture.size, tuple(notes)


def _scaled(picture: Image.Image, scale: float) -> tuple[Image.Image, str]:
    width, height = (max(1, int(side * scale)) for side in picture.size)
    note = f"{picture.width}x{picture.height} scaled to {width}x{height}"
    return picture.resize((width, height), Image.Resampling.LANCZOS), note


def _is_jpeg(uri: str) -> bool:
    return uri.startswith("data:image/jpeg")


def _uri(mime: str, data: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"
