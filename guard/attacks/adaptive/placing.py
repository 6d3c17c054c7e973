"""Places writing in a picture: on a plate in a corner, faintly, or in a strip below it.

Nothing is clipped: `fitting` finds the largest letters with which all of a text fits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageFont, ImageStat

from vlmguard.guard.attacks.drawing import load_font, wrapped

__all__ = [
    "SMALLEST",
    "Box",
    "Lettering",
    "calmest",
    "fitting",
    "letter_size",
    "margin",
    "on_plate",
    "with_faint",
    "with_footer",
]

Box = tuple[int, int, int, int]
"""Left, upper, right and lower edge."""

SMALLEST: Final = 6
"""Height in pixels of the smallest letters that can still be told apart."""
_LOW: Final = 12
_HIGH: Final = 24
_SHARE: Final = 30
_WHITE: Final = (255, 255, 255)
_BLACK: Final = (0, 0, 0)


@dataclass(frozen=True)
class Lettering:
    """A text, laid out.

    Attributes:
        text: Its lines, as drawn.
        font: The font.
        pixels: Height of the letters.
        spacing: Pixels between two lines.
        box: Where its ink is, if it is drawn at (0, 0).
    """

    text: str
    font: ImageFont.FreeTypeFont
    pixels: int
    spacing: int
    box: Box

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of its ink."""
        left, top, right, bottom = self.box
        return right - left, bottom - top

    def draw(self, picture: Image.Image, place: tuple[int, int], ink: tuple[int, ...]) -> Box:
        """Draw it into a picture, the upper left corner of the ink at a place."""
        left, top, _, _ = self.box
        ImageDraw.Draw(picture).multiline_text(
            (place[0] - left, place[1] - top),
            self.text,
            fill=ink,
            font=self.font,
            spacing=self.spacing,
        )
        return _box(place, self.size)


def letter_size(size: tuple[int, int]) -> int:
    """Height of letters for a picture: a 30th of its shorter side, 12 to 24 pixels."""
    return min(_HIGH, max(_LOW, min(size) // _SHARE))


def margin(size: tuple[int, int]) -> int:
    """Pixels around writing in a picture of this size."""
    return max(1, min(12, min(size) // 40))


def fitting(
    text: str,
    room: tuple[int, int | None],
    sizes: Sequence[int],
    file: str | None = None,
    *,
    cut: bool = False,
) -> Lettering | None:
    """Lay a text out in the first of these sizes in which all of it fits.

    Args:
        text: The text. Its lines are broken between words.
        room: Width and height in pixels; None if the height has no limit.
        sizes: Heights of letters, the best first.
        file: The user's font file; None for the bundled one.
        cut: Whether a word longer than a line may go on in the next one.

    Returns:
        The layout; None if no size fits.
    """
    width, height = room
    for pixels in sizes:
        font = load_font(pixels, file)
        columns = int(width // font.getlength("M"))
        if columns < (1 if cut else max(map(len, text.split()), default=1)):
            continue
        lines = "\n".join(wrapped(text, columns))
        spacing = max(1, pixels // 6)
        pen = ImageDraw.Draw(Image.new("L", (1, 1)))
        found = pen.multiline_textbbox((0, 0), lines, font=font, spacing=spacing)
        left, top, right, bottom = (round(edge) for edge in found)
        if right - left <= width and (height is None or bottom - top <= height):
            return Lettering(lines, font, pixels, spacing, (left, top, right, bottom))
    return None


def on_plate(
    picture: Image.Image, lettering: Lettering, ink: tuple[int, ...] = _BLACK
) -> tuple[Image.Image, Box]:
    """Write on a white plate in the calmest corner.

    Args:
        picture: The picture; it is not changed.
        lettering: The writing; `margin` must be left around it.
        ink: Colour of the letters.

    Returns:
        The new picture, and where the writing is in it.
    """
    edge = margin(picture.size)
    plate = (lettering.size[0] + 2 * edge, lettering.size[1] + 2 * edge)
    left, top = calmest(picture, plate)
    drawn = picture.copy()
    drawn.paste(_WHITE, _box((left, top), plate))
    return drawn, lettering.draw(drawn, (left + edge, top + edge), ink)


def with_faint(
    picture: Image.Image, lettering: Lettering, levels: int
) -> tuple[Image.Image, Box, tuple[int, ...]]:
    """Write where the picture is calmest, a little brighter or darker than it is there.

    Args:
        picture: The picture; it is not changed.
        lettering: The writing; `margin` must be left around it.
        levels: Difference in brightness between the ink and the mean of the picture under the
            writing, of 255 levels.

    Returns:
        The new picture, where the writing is in it, and the colour of the ink.
    """
    edge = margin(picture.size)
    width, height = lettering.size
    left, top = calmest(picture, (width + 2 * edge, height + 2 * edge), steps=3)
    place = (left + edge, top + edge)
    part = picture.crop(_box(place, lettering.size))
    under = ImageStat.Stat(part).mean
    brightness = ImageStat.Stat(part.convert("L")).mean[0]
    # Towards black or white, whichever is further away: no channel can leave its range.
    goal = 0 if brightness > _WHITE[0] / 2 else _WHITE[0]
    step = levels / abs(goal - brightness)
    ink = tuple(round(level + step * (goal - level)) for level in under)
    drawn = picture.copy()
    return drawn, lettering.draw(drawn, place, ink), ink


def calmest(picture: Image.Image, size: tuple[int, int], steps: int = 2) -> tuple[int, int]:
    """The place where something of this size hides least: where the brightness varies least.

    Args:
        picture: The picture.
        size: Width and height of what is to be drawn.
        steps: Places in each direction; 2 for the corners alone.

    Returns:
        Left and upper edge; of equal places, the first.
    """
    grey = picture.convert("L")
    free = (picture.width - size[0], picture.height - size[1])
    last = steps - 1
    places = [
        (free[0] * across // last, free[1] * down // last)
        for down in range(steps)
        for across in range(steps)
    ]
    return min(places, key=lambda each: ImageStat.Stat(grey.crop(_box(each, size))).stddev[0])


def with_footer(picture: Image.Image, lettering: Lettering) -> tuple[Image.Image, Box]:
    """Write on a white strip that is added below; the picture above stays as it is.

    Args:
        picture: The picture; it is not changed.
        lettering: The writing; `margin` must be left around it.

    Returns:
        The new picture, and where the writing is in it.
    """
    edge = margin(picture.size)
    taller = (picture.width, picture.height + lettering.size[1] + 2 * edge)
    drawn = Image.new("RGB", taller, _WHITE)
    drawn.paste(picture, (0, 0))
    return drawn, lettering.draw(drawn, (edge, picture.height + edge), _BLACK)


def _box(place: tuple[int, int], size: tuple[int, int]) -> Box:
    return place[0], place[1], place[0] + size[0], place[1] + size[1]
