"""Colours of heat maps: a middle that is no colour, and letters that can be read on each cell."""

from typing import Final

__all__ = ["BETTER", "WORSE", "contrast", "diverging", "letters_on", "sequential"]

WORSE: Final = (0xB2, 0x53, 0x0E)
BETTER: Final = (0x0B, 0x62, 0xA8)
_MIDDLE: Final = (0xF7, 0xF7, 0xF5)
_BLACK: Final = "#010101"
_WHITE: Final = "#fefefe"
"""Not those of the theme: cells look alike on light and dark pages."""


def diverging(share: float) -> str:
    """A colour between worse (-1), no change (0) and better (1)."""
    share = min(1.0, max(-1.0, share))
    return _between(_MIDDLE, BETTER if share > 0 else WORSE, abs(share))


def sequential(share: float) -> str:
    """A colour between nothing (0) and all (1)."""
    return _between(_MIDDLE, BETTER, min(1.0, max(0.0, share)))


def letters_on(colour: str) -> str:
    """Black or white, whichever is read more easily."""
    return max((_BLACK, _WHITE), key=lambda each: contrast(each, colour))


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as the WCAG define it."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _between(start: tuple[int, ...], end: tuple[int, ...], share: float) -> str:
    mixed = (round(a + (b - a) * share) for a, b in zip(start, end, strict=True))
    return "#" + "".join(f"{each:02x}" for each in mixed)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
