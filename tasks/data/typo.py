"""Stand-ins for MM-SafetyBench's TYPO images, drawn by the authors' recipe.

The key phrase in black on white: letters 90 pixels high, 1024 pixels wide, words wrapped
greedily, the first line 45 pixels from the top. The authors use Arial, which may not be
redistributed: with another font an image is near theirs and not theirs, so runs on
stand-ins are marked with the font's name.
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
    """The font of the user's choice, or the one that comes with Pillow.

    Args:
        file: TrueType or OpenType file, or None.

    Returns:
        The font at the recipe's size.

    Raises:
        UserError: The file holds no font.
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
    """Draw a key phrase.

    Args:
        phrase: The phrase.
        font: A font from `load_font`.

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

    Args:
        phrase: The phrase.
        font: The font.

    Returns:
        The lines; a word too wide for a line stands alone and is cut off.
    """
    lines: list[str] = []
    for word in phrase.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= _WIDTH:
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.append(f" {word}" if lines else word)
    return lines
