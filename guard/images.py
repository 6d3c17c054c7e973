"""Images: checked, brought into a form every model API accepts, as data URIs.

Model APIs and processors disagree about palettes, transparency, 16 bit, CMYK
and animation. What is not a plain 8-bit RGB or grey picture is converted once,
here, and the conversion is noted, so that every model sees the same picture.
"""

import base64
import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

MAX_PIXELS: Final = 20_000_000
"""Larger pictures are scaled down: model APIs refuse or silently shrink them."""

_LOSSLESS_PIXELS: Final = 4_000_000
_PLAIN_MODES: Final = ("RGB", "L")
_MIME_BY_FORMAT: Final = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
_SUFFIXES_BY_FORMAT: Final = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "WEBP": (".webp",),
}


class ImageError(ValueError):
    """An image cannot be used; the message names the file and the reason."""


@dataclass(frozen=True)
class PreparedImage:
    """An image that decodes, ready to be sent.

    Attributes:
        reference: The file's path where it can be sent as it is, else a data URI.
        sha256: SHA-256 of the file's bytes (64 hex digits).
        notes: What was changed ("CMYK to RGB", ...); empty if nothing was.
    """

    reference: str
    sha256: str
    notes: tuple[str, ...]


def prepare_image(path: Path) -> PreparedImage:
    """Decode an image file completely and convert what not every model accepts.

    Args:
        path: An image file of any format that Pillow reads.

    Returns:
        The path itself for a plain PNG, JPEG or WEBP file with the right
        suffix, otherwise a data URI with the converted picture.

    Raises:
        ImageError: Missing, truncated, not an image, or far too large.
    """
    if not path.is_file():
        raise ImageError(f"{path}: no such file")
    data = path.read_bytes()
    try:
        picture, notes = _decode(data)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path}: not a readable image ({error})") from error
    sha256 = hashlib.sha256(data).hexdigest()
    file_format = picture.format or ""
    mime = _MIME_BY_FORMAT.get(file_format)
    if notes or mime is None:
        notes = notes or (f"{file_format} to PNG",)
        return PreparedImage(_encode(picture), sha256, notes)
    if path.suffix.lower() not in _SUFFIXES_BY_FORMAT[file_format]:
        # Inspect derives the media type from the suffix; the bytes are fine.
        return PreparedImage(_uri(mime, data), sha256, (f"{file_format} named {path.suffix}",))
    return PreparedImage(str(path), sha256, ())


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
        return _encode(_plain(image)[0])
    if isinstance(image, str) and image.startswith("data:"):
        return image
    if isinstance(image, bytes):
        name, data = f"{len(image)} bytes", image
    else:
        path = Path(image)
        if not path.is_file():
            raise ImageError(f"{path}: no such file")
        name, data = str(path), path.read_bytes()
    try:
        picture, notes = _decode(data)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"{name}: not a readable image ({error})") from error
    mime = _MIME_BY_FORMAT.get(picture.format or "")
    if notes or mime is None:
        return _encode(picture)
    return _uri(mime, data)


def from_data_uri(uri: str) -> Image.Image:
    """Decode a data URI into an 8-bit RGB picture.

    Args:
        uri: A `data:image/...;base64,` URI.

    Returns:
        The picture in mode RGB; the first frame of an animation, transparency
        laid on white, at most `MAX_PIXELS` pixels.

    Raises:
        ImageError: Not a base64 data URI, or the picture cannot be decoded.
    """
    head, _, payload = uri.partition(",")
    if not head.startswith("data:") or not head.endswith(";base64"):
        raise ImageError(f"not a base64 data URI: {uri[:40]}...")
    try:
        picture, _ = _decode(base64.b64decode(payload))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"data URI: not a readable image ({error})") from error
    return picture.convert("RGB")


def _decode(data: bytes) -> tuple[Image.Image, tuple[str, ...]]:
    """Decode all pixels; returns the plain picture (format kept) and the notes."""
    with warnings.catch_warnings():
        # Pillow warns from 89 megapixels on and raises at twice that; below
        # its limit we scale down ourselves and say so.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(data)) as picture:
            file_format = picture.format
            picture.load()
            plain, notes = _plain(picture)
    plain.format = file_format
    return plain, notes


def _plain(picture: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    notes: list[str] = []
    if _is_animated(picture):
        notes.append("first frame of an animation")
        picture.seek(0)
    mode = picture.mode
    if mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        notes.append(f"{mode} with transparency laid on white")
        rgba = picture.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        picture = Image.alpha_composite(white, rgba).convert("RGB")
    elif mode.startswith("I;16") or mode == "I":
        # Pillow clips 16-bit values at 255 instead of scaling them.
        notes.append("16 bit to 8 bit")
        picture = picture.convert("I").point(lambda value: value / 256).convert("L").convert("RGB")
    elif mode not in _PLAIN_MODES:
        notes.append(f"{mode} to RGB")
        picture = picture.convert("RGB")
    width, height = picture.size
    if width * height > MAX_PIXELS:
        scale = (MAX_PIXELS / (width * height)) ** 0.5
        size = (max(1, int(width * scale)), max(1, int(height * scale)))
        notes.append(f"{width}x{height} scaled to {size[0]}x{size[1]}")
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return picture.copy(), tuple(notes)


def _is_animated(picture: Image.Image) -> bool:
    try:
        picture.seek(1)
    except EOFError:
        return False
    return True


def _encode(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    # A large photo as PNG would pass the upload limits of model APIs.
    if picture.width * picture.height > _LOSSLESS_PIXELS:
        picture.convert("RGB").save(buffer, format="JPEG", quality=95)
        return _uri("image/jpeg", buffer.getvalue())
    picture.convert("RGB").save(buffer, format="PNG")
    return _uri("image/png", buffer.getvalue())


def _uri(mime: str, data: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"
