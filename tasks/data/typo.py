"""Draws substitutes for MM-SafetyBench's TYPO images by the authors' recipe.

The key phrase in black on white: letters 90 pixels high, 1024 pixels wide, words wrapped greedily,
the first line 45 pixels from the top (`guard/attacks/drawing.py`). A word too wide for a line is
cut off. The authors use Arial, which may not be redistributed. With another font an image is
similar to theirs but not the same, so runs with substitutes are marked with the font's name.
"""

import io

from PIL import ImageFont

from vlmguard.guard.attacks.drawing import PHRASE_SIZE, phrase_picture
from vlmguard.guard.errors import UserError
from vlmguard.guard.images.prepare import to_data_uri
from vlmguard.guard.paths import user_path

__all__ = ["load_font", "render_phrase"]


def load_font(file: str | None) -> ImageFont.FreeTypeFont:
    """The user's font (TrueType or OpenType) or Pillow's own, at the recipe's size.

    Args:
        file: The font file, or None.

    Raises:
        UserError: The file is not a readable font.
    """
    if file is None:
        font = ImageFont.load_default(PHRASE_SIZE)
        assert isinstance(font, ImageFont.FreeTypeFont)
        return font
    try:
        return ImageFont.truetype(str(user_path(file)), PHRASE_SIZE)
    except OSError as error:
        raise UserError(f"-T font={file}: not a readable font file ({error}).") from error


def render_phrase(phrase: str, font: ImageFont.FreeTypeFont) -> str:
    """Draw a key phrase with a font from `load_font`.

    Returns:
        A JPEG picture, 1024 pixels wide and 90 times (lines + 1) high, as a data URI.
    """
    buffer = io.BytesIO()
    phrase_picture(phrase, font).save(buffer, format="JPEG")
    return to_data_uri(buffer.getvalue())
