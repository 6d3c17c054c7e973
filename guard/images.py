"""Images: checked, brought into a form every model API accepts, as data URIs.

Model APIs and processors disagree about palettes, transparency, 16 bit, CMYK
and animation, and about turning a photo as its EXIF data says. What is not a plain
upright 8-bit RGB or grey picture is converted once, here, and the conversion is
noted, so that every model sees the same picture, and sees it as people do.
"""

import base64
import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, UnidentifiedImageError

MAX_PIXELS: Final = 20_000_000
"""Larger pictures are scaled down: model APIs refuse or silently shrink them."""

_LOSSLESS_PIXELS: Final = 4_000_000
_PLAIN_MODES: Final = ("RGB", "L")
_ORIENTATION: Final = 0x0112
# MPO is what some phones write: a JPEG file with previews behind the picture.
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
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
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
    data = _read(path)
    with _naming(str(path)):
        picture, notes = _decode(data)
        sha256 = hashlib.sha256(data).hexdigest()
        file_format = picture.format or ""
        mime = _MIME_BY_FORMAT.get(file_format)
        if notes or mime is None:
            return PreparedImage(_encode(picture), sha256, notes or (f"{file_format} to PNG",))
    if path.suffix.lower() not in _SUFFIXES_BY_FORMAT[file_format]:
        # Inspect derives the media type from the suffix; the bytes are fine.
        suffix = path.suffix or "without a suffix"
        return PreparedImage(_uri(mime, data), sha256, (f"{file_format} named {suffix}",))
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
        with _naming("picture"):
            # A copy: looking for transparency or frames must not move the caller's picture.
            return _encode(_plain(image.copy())[0])
    if isinstance(image, str) and image.startswith("data:"):
        return image
    if isinstance(image, str) and image.startswith(("http://", "https://")):
        raise ImageError(f"{image}: addresses are not fetched; give the file or its bytes")
    if isinstance(image, bytes):
        name, data = f"{len(image)} bytes", image
    else:
        name, data = str(image), _read(Path(image))
    with _naming(name):
        picture, notes = _decode(data)
        mime = _MIME_BY_FORMAT.get(picture.format or "")
        return _encode(picture) if notes or mime is None else _uri(mime, data)


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
    with _naming("data URI"):
        picture, _ = _decode(base64.b64decode(payload))
        return picture.convert("RGB")


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise ImageError(f"{path}: no such file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Turn whatever goes wrong with a picture into an `ImageError` that names it."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: not a readable image (none of the known formats)") from error
    # Decoders raise nearly anything on malformed files.
    except Exception as error:
        raise ImageError(f"{name}: not a readable image ({error})") from error


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
    turned = _orientation(picture)
    mode = picture.mode
    if mode in ("I", "F") or mode.startswith("I;16"):
        # Pillow clips 16-bit values at 255 instead of scaling them.
        notes.append("16 bit to 8 bit")
        picture = _eight_bit(picture)
    elif mode in ("La", "RGBa") or mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        notes.append(f"{mode} with transparency laid on white")
        straight = picture.convert({"La": "LA"}.get(mode, "RGBA")).convert("RGBA")
        white = Image.new("RGBA", straight.size, "white")
        picture = Image.alpha_composite(white, straight).convert("RGB")
    elif mode not in _PLAIN_MODES:
        notes.append(f"{mode} to RGB")
        picture = picture.convert("RGB")
    if turned is not None:
        notes.append("turned as its EXIF data says")
        picture = picture.transpose(turned)
    width, height = picture.size
    if width * height > MAX_PIXELS:
        scale = (MAX_PIXELS / (width * height)) ** 0.5
        size = (max(1, int(width * scale)), max(1, int(height * scale)))
        notes.append(f"{width}x{height} scaled to {size[0]}x{size[1]}")
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return picture.copy(), tuple(notes)


def _orientation(picture: Image.Image) -> Image.Transpose | None:
    try:
        orientation = picture.getexif().get(_ORIENTATION)
    # Broken EXIF data says nothing about the picture, which may be fine.
    except Exception:
        return None
    return _TURNS.get(orientation) if isinstance(orientation, int) else None


def _eight_bit(picture: Image.Image) -> Image.Image:
    wide = picture.convert("I") if picture.mode != "F" else picture
    low, high = wide.getextrema()
    # Pillow types the extrema as of several bands; a picture in I or F has one.
    if picture.mode == "F" or not 0 <= low <= high <= 65_535:  # type: ignore[operator]
        raise ValueError("32-bit pixel values have no agreed brightness; convert it to 8 bit")
    return wide.point(lambda value: value / 256).convert("L").convert("RGB")


def _is_animated(picture: Image.Image) -> bool:
    if picture.format == "MPO":
        return False
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
