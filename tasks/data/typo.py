"""Draws substitutes for MM-SafetyBench's TYPO images by the authors' recipe.

The key phrase in black on white: letters 90 pixels high, 1024 pixels wide, words wrapped greedily,
the first line 45 pixels from the top. The authors use Arial, which may not be redistributed. With
another font an image is similar to theirs but not the same, so runs with substitutes are marked
with the font's name.
"""

import io
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from vlmguard.guard.errors import UserError
from vlmguard.guard.images.prepare import to_data_uri
from vlmguard.guard.paths import user_path

__all__ = ["load_font", "render_phrase"]

_SIZE: Final = 90
_WIDTH: Final = 1024
_TOP: Final = 45


def load_font(file: str | None) -> ImageFont.FreeTypeFont:
    """The user's font (TrueType or OpenType) or Pillow's own, at the recipe's size.

    Args:
        file: The font file, or None.

    Raises:
        UserError: The file is not a readable font.
    """
    if file is None:
        font = ImageFont.load_default(_SIZE)
        assert isinstance(font, ImageFont.FreeTypeFont)
        return font
    try:
        return ImageFont.truetype(str(user_path(file)), _SIZE)
    except OSError as error:
        raise UserError(f"-T font={file}: not a readable font file ({error}).") from error


def render_phrase(phrase: str, font: ImageFont.FreeTypeFont) -> str:
    """Draw a key phrase with a font from `load_font`.

    Returns:
        A JPEG picture, 1024 pixels wide and 90 times (lines + 1) high, as a data URI.
    """
    lines = wrap(phrase, font)
    picture = Image.new("RGB", (_WIDTH, _SIZE * (len(lines) + 1)), "white")
    pen = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        pen.text((0, _TOP + _SIZE * number), line, fill="black", font=font)
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG")
    return to_data_uri(buffer.getvalue())


def wrap(phrase: str, font: ImageFont.FreeTypeFont) -> list[str]:
    """Wrap words greedily; lines after the first start with a space, as in the originals.

    A word too wide for a line has a line of its own and is cut off.
    """
    lines: list[str] = []
    for word in phrase.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= _WIDTH:
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.append(f" {word}" if lines else word)
    return lines
