"""Decodes a file into a plain, upright 8-bit picture, and says what was changed."""

import io
import math
import re
import threading
import warnings
from typing import Any, Final, Literal

from PIL import Image, UnidentifiedImageError

from vlmguard.guard.images.colour import to_srgb

__all__ = ["Colour", "decode", "plain_picture"]

MAX_PIXELS: Final = 20_000_000
"""Larger pictures are scaled down: model APIs refuse or silently shrink them."""

Colour = Literal["srgb", "as_is"]
"""`srgb`: colours as people see them; `as_is`: the file's numbers, without its colour profile."""

_PLAIN_MODES: Final = ("RGB", "L")
_PROFILED: Final = ("RGB", "L", "CMYK")
_ORIENTATION: Final = 0x0112
_BITS_PER_SAMPLE: Final = 258
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Files that people take for pictures, by their first bytes.
_NO_PICTURES: Final = (
    (
        re.compile(rb"\Aversion https://git-lfs"),
        "a Git LFS pointer, not the picture itself; run 'git lfs pull' in its repository",
    ),
    (
        re.compile(rb"\A\s{0,99}(?:<!doctype html|<html|<head)", re.IGNORECASE),
        "a web page, not a picture (saved from a failed download?); download it again",
    ),
    (
        re.compile(rb"\A\s{0,99}(?:<\?xml|<!doctype svg|<!--|<svg)", re.IGNORECASE),
        "an SVG or XML drawing, which has no pixels; render it as PNG",
    ),
    (
        re.compile(rb"\A.{4}ftyp(?:hei|hev|mif1|msf1)", re.DOTALL),
        "a HEIC photo, which is not supported; convert it to JPEG or PNG",
    ),
)
# Pixels decoded at a time when a picture is far too large.
_BAND: Final = 4_000_000
# All threads decode large pictures one at a time, so that memory stays bounded.
_LARGE: Final = threading.Lock()


def decode(data: bytes, colour: Colour) -> tuple[Image.Image, tuple[str, ...]]:
    """Decode all pixels of an image file.

    Args:
        data: The file's bytes.
        colour: Whether to apply a colour profile other than sRGB.

    Returns:
        A picture of mode RGB or L, upright, at most `MAX_PIXELS` pixels, with `format` set; and the
        list of changes.

    Raises:
        UnidentifiedImageError: Not a picture; the message says what it is, if known.
        Exception: Any error that a decoder raises on a malformed file.
    """
    with warnings.catch_warnings():
        # Pillow warns from 89 megapixels on and raises at twice that; below
        # its limit we scale down ourselves and say so.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            opened = Image.open(io.BytesIO(data))
        except UnidentifiedImageError as error:
            raise UnidentifiedImageError(_what_it_is(data)) from error
        with opened as picture:
            file_format = picture.format
            wide = _is_wide(picture, data)
            if picture.width * picture.height > MAX_PIXELS:
                with _LARGE:
                    plain, notes = plain_picture(picture, colour, wide)
            else:
                plain, notes = plain_picture(picture, colour, wide)
    plain.format = file_format
    return plain, notes


def plain_picture(
    picture: Image.Image, colour: Colour, wide: bool = False
) -> tuple[Image.Image, tuple[str, ...]]:
    """Bring an opened picture into plain form.

    Args:
        picture: The picture; may be moved to its first frame.
        colour: Whether to apply a colour profile other than sRGB.
        wide: Its file has more than 8 bits a channel, which its mode does not say.

    Returns:
        A new picture of mode RGB or L, and the list of changes.
    """
    notes: list[str] = []
    if _is_animated(picture):
        notes.append("first frame of an animation")
        picture.seek(0)
    # Read only now: Pillow turns TIFF files itself while it loads them.
    picture.load()
    turned = _orientation(picture)
    profile = picture.info.get("icc_profile") if colour == "srgb" else None
    mode, size = picture.mode, picture.size
    plain = _reduced(picture)
    if wide or plain.mode in ("I", "F") or plain.mode.startswith("I;16"):
        notes.append("16 bit to 8 bit")
        plain = plain if wide else _eight_bit(plain)
    alpha = None
    if _is_transparent(plain):
        notes.append(f"{mode} with transparency laid on white")
        straight = plain.convert({"La": "LA"}.get(plain.mode, "RGBA")).convert("RGBA")
        alpha = straight.getchannel("A")
        plain = straight.convert("L" if mode in ("L", "LA", "La") else "RGB")
    if profile:
        plain, note = to_srgb(plain if plain.mode in _PROFILED else plain.convert("RGB"), profile)
        notes += [note] if note else []
    if alpha:
        # White is white under any profile, so colours come first.
        white = Image.new("RGB", plain.size, "white")
        plain = Image.composite(plain.convert("RGB"), white, alpha)
    if plain.mode not in _PLAIN_MODES:
        notes.append(f"{mode} to RGB")
        plain = plain.convert("RGB")
    if size[0] * size[1] > MAX_PIXELS:
        scale = (MAX_PIXELS / (size[0] * size[1])) ** 0.5
        smaller = (max(1, int(size[0] * scale)), max(1, int(size[1] * scale)))
        notes.append(f"{size[0]}x{size[1]} scaled to {smaller[0]}x{smaller[1]}")
        plain = plain.resize(smaller, Image.Resampling.LANCZOS)
    if turned is not None:
        notes.append("turned as its EXIF data says")
        plain = plain.transpose(turned)
    return plain.copy() if plain is picture else plain, tuple(notes)


def _what_it_is(data: bytes) -> str:
    return next(
        (words for pattern, words in _NO_PICTURES if pattern.match(data[:200])),
        "not a readable image (none of the known formats)",
    )


def _is_wide(picture: Image.Image, data: bytes) -> bool:
    """Whether a file has more than 8 bits a channel, although Pillow's mode says 8."""
    if picture.mode.startswith(("I", "F")):
        return False
    if picture.format == "PNG":
        return data[24] == 16
    if picture.format == "TIFF":
        tags: Any = picture.getexif()
        bits = tags.get(_BITS_PER_SAMPLE, 8)
        return bool(max(bits if isinstance(bits, tuple) else (bits,)) > 8)
    return False


def _reduced(picture: Image.Image) -> Image.Image:
    """A picture far beyond `MAX_PIXELS`, reduced by a whole factor, but not below `MAX_PIXELS`.

    Converts and averages band by band: a black-and-white drawing of 169 megapixels takes 21 MB, but
    a gigabyte if all of it is converted to colour at once.
    """
    width, height = picture.size
    factor = math.isqrt(width * height // MAX_PIXELS)
    if factor < 2:
        return picture
    mode = {"1": "L", "P": "RGB"}.get(picture.mode, picture.mode)
    if _is_transparent(picture):
        mode = "RGBA"
    elif mode.startswith("I;16"):
        mode = "I"
    smaller = Image.new(mode, (math.ceil(width / factor), math.ceil(height / factor)))
    rows = max(1, _BAND // width // factor) * factor
    for top in range(0, height, rows):
        band = picture.crop((0, top, width, min(height, top + rows)))
        smaller.paste(band.convert(mode).reduce(factor), (0, top // factor))
    return smaller


def _is_transparent(picture: Image.Image) -> bool:
    return picture.mode in ("La", "RGBa", "RGBA", "LA", "PA") or "transparency" in picture.info


def _orientation(picture: Image.Image) -> Image.Transpose | None:
    try:
        orientation = picture.getexif().get(_ORIENTATION)
    # The picture may be fine even if its EXIF data is broken.
    except Exception:
        return None
    return _TURNS.get(orientation) if isinstance(orientation, int) else None


def _eight_bit(picture: Image.Image) -> Image.Image:
    wide = picture.convert("I") if picture.mode != "F" else picture
    low, high = wide.getextrema()
    # Pillow's types assume several bands; a picture of mode I or F has one.
    if picture.mode == "F" or not 0 <= low <= high <= 65_535:  # type: ignore[operator]
        raise ValueError("32-bit pixel values have no agreed brightness; convert it to 8 bit")
    return wide.point(lambda value: value / 256).convert("L")


def _is_animated(picture: Image.Image) -> bool:
    if picture.format == "MPO":
        return False
    try:
        picture.seek(1)
    except EOFError:
        return False
    return True
