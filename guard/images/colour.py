"""Applies colour profiles: pictures as people see them, in the sRGB that models were trained on.

Viewers apply the ICC profile of a file. Model APIs and processors ignore it, so a model may see red
where a person sees blue.
"""

import io
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from PIL import Image, ImageCms

__all__ = ["to_srgb"]

UNREADABLE: Final = "colour profile that cannot be read was ignored"

_MODES: Final = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
# Levels of 255 by which colours may differ under a profile that counts as sRGB: profiles of that
# name, by different makers, differ by rounding.
_ROUNDING: Final = 2
# Each channel in steps that include both ends.
_STEPS: Final = range(0, 256, 51)

Conversion = Callable[[Image.Image], Image.Image]


def to_srgb(picture: Image.Image, profile: bytes) -> tuple[Image.Image, str | None]:
    """Apply a colour profile.

    Args:
        picture: A picture of mode RGB, L or CMYK.
        profile: The ICC profile that came with it.

    Returns:
        The picture in sRGB, mode RGB, and what was done; the picture itself and None where the
        profile is sRGB. A profile that is damaged, or is for another kind of picture, is not
        applied, which is said too.
    """
    if picture.mode == "L" and _space(profile) == "RGB ":
        picture = picture.convert("RGB")
    conversion, name = _conversion(profile, picture.mode)
    if conversion is None:
        return picture, name
    return conversion(picture), f"{name} to sRGB"


@lru_cache(maxsize=64)
def _space(profile: bytes) -> str | None:
    """The kind of colours that a profile is for (`RGB `, `GRAY`, `CMYK`); None if unreadable."""
    try:
        # Pillow's types confuse what a profile is made from with what is kept of it.
        opened: Any = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return str(opened.profile.xcolor_space)
    except (OSError, ImageCms.PyCMSError):
        return None


@lru_cache(maxsize=64)
def _conversion(profile: bytes, mode: str) -> tuple[Conversion | None, str | None]:
    """The conversion and the profile's name; None if no conversion is needed."""
    if _MODES.get(_space(profile) or "") != mode:
        return None, UNREADABLE
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        name = " ".join(ImageCms.getProfileDescription(source).split())[:60]
    except (OSError, ImageCms.PyCMSError):
        return None, UNREADABLE

    def convert(picture: Image.Image) -> Image.Image:
        converted = ImageCms.applyTransform(picture, transform)
        assert converted is not None, "only a conversion in place gives nothing back"
        return converted

    sample = _sample(mode)
    plain = sample.convert("RGB")
    if mode != "CMYK" and _largest_change(plain, convert(sample)) <= _ROUNDING:
        return None, None
    return convert, f"colour profile {name}" if name else "colour profile"


def _sample(mode: str) -> Image.Image:
    """A picture of colours from all over the space."""
    if mode == "L":
        return Image.frombytes("L", (256, 1), bytes(range(256)))
    if mode == "CMYK":
        return Image.new("CMYK", (1, 1))
    colours = bytes(level for r in _STEPS for g in _STEPS for b in _STEPS for level in (r, g, b))
    return Image.frombytes("RGB", (len(colours) // 3, 1), colours)


def _largest_change(before: Image.Image, after: Image.Image) -> int:
    pairs = zip(before.tobytes(), after.tobytes(), strict=True)
    return max(abs(old - new) for old, new in pairs)
