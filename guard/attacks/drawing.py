"""Writes text into pictures, the same on every machine.

The bundled font is DejaVu (a free licence), which comes with matplotlib. It has Latin, Greek and
Cyrillic letters. Text in a script that a font lacks would become boxes that no model can read, so
it is refused: give a font of your own, `:font=FILE`. Scripts whose letters change their form or run
from right to left are refused with any font, since Pillow needs further libraries for them.
"""

import hashlib
import textwrap
import unicodedata
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from fontTools.ttLib import TTCollection, TTFont
from PIL import Image, ImageDraw, ImageFont

from vlmguard.guard.errors import UserError
from vlmguard.guard.paths import user_path

__all__ = [
    "PHRASE_SIZE",
    "PHRASE_WIDTH",
    "drawable",
    "filled",
    "font_hash",
    "load_font",
    "measured",
    "phrase_picture",
    "undrawn",
    "wrapped",
    "written",
]

BUNDLED: Final = "DejaVuSansMono-Bold.ttf"
"""The bundled font: monospaced and bold, as FigStep's pictures have it."""

PHRASE_SIZE: Final = 90
"""Height in pixels of the letters of MM-SafetyBench's pictures, and between two lines."""

PHRASE_WIDTH: Final = 1024
"""Their width."""

_PHRASE_TOP: Final = 45


def load_font(size: int, file: str | None = None) -> ImageFont.FreeTypeFont:
    """A font at a size in pixels.

    Args:
        size: Height in pixels (>= 1).
        file: The user's font file (TrueType or OpenType); None for the bundled one.

    Raises:
        UserError: The file is not a readable font.
    """
    path = _path(file)
    try:
        # Basic layout: shaping by a library that not every machine has would change pixels.
        return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise UserError(f"font={file}: not a readable font file ({error}).") from error


@cache
def font_hash() -> str:
    """SHA-256 of the bundled font, 64 hex digits."""
    return hashlib.sha256(_path(None).read_bytes()).hexdigest()


def drawable(text: str, file: str | None, name: str) -> str:
    """A text as it can be drawn, if the font has all of its letters.

    Accents are joined to their letters; characters without a form (of no width, marks of direction)
    are left out.

    Args:
        text: The text.
        file: The user's font file; None for the bundled one.
        name: Whose text it is, for the message.

    Raises:
        UserError: The font lacks letters; the message shows some, and the way out.
    """
    composed = unicodedata.normalize("NFC", text)
    text = "".join(each for each in composed if unicodedata.category(each) != "Cf")
    shaped = sorted({each for each in text if _is_shaped(each)})
    if shaped:
        raise UserError(
            f"{name}: {''.join(shaped[:8])!r} is of a script whose letters join, combine or run "
            "from right to left, which cannot be drawn here. Leave the sample out (--sample-id), "
            "or choose an attack that leaves text as it is."
        )
    if lacking := undrawn(text, file):
        shown = "".join(sorted(lacking)[:8])
        raise UserError(
            f"{name}: the font {file or BUNDLED} has no {shown!r}, and the picture would show "
            "boxes. Give a font with these letters: :font=FILE."
        )
    return text


def undrawn(text: str, file: str | None = None) -> set[str]:
    """The letters of a text that a font lacks.

    Args:
        text: The text.
        file: The user's font file; None for the bundled one.
    """
    path = _path(file)
    letters = _letters(str(path), path.stat().st_mtime_ns)
    return {each for each in text if not each.isspace() and ord(each) not in letters}


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most so many characters, broken between words; a longer word is cut.

    Args:
        text: The text; its own lines stay apart.
        width: Characters a line (>= 1).
    """
    lines = text.splitlines() or [""]
    return [part for line in lines for part in textwrap.wrap(line, width) or [""]]


def measured(lines: list[str], font: ImageFont.FreeTypeFont, spacing: int) -> tuple[int, int]:
    """Pixels that a block of lines takes to the right of its start, and below it."""
    pen = ImageDraw.Draw(Image.new("L", (1, 1)))
    box = pen.multiline_textbbox((0, 0), "\n".join(lines), font=font, spacing=spacing)
    return round(box[2]), round(box[3])


def written(
    lines: list[str],
    font: ImageFont.FreeTypeFont,
    *,
    size: tuple[int, int],
    start: tuple[int, int],
    spacing: int,
    ink: str = "black",
    paper: str = "white",
) -> Image.Image:
    """A new picture with a block of lines.

    Args:
        lines: The lines.
        font: A font from `load_font`.
        size: Width and height in pixels.
        start: Left and upper edge of the block.
        spacing: Pixels between two lines.
        ink: Colour of the letters.
        paper: Colour of all else.
    """
    picture = Image.new("RGB", size, paper)
    pen = ImageDraw.Draw(picture)
    pen.multiline_text(start, "\n".join(lines), fill=ink, font=font, spacing=spacing)
    return picture


def filled(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Lines that words fill greedily; those after the first start with a blank.

    Args:
        text: The text.
        font: A font from `load_font`.
        width: Pixels of a line. A wider word has a line of its own.
    """
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.append(f" {word}" if lines else word)
    return lines


def phrase_picture(phrase: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """A key phrase as MM-SafetyBench draws it: black on white, 1024 pixels wide.

    Args:
        phrase: The key phrase.
        font: A font of `PHRASE_SIZE`.

    Returns:
        A picture that is 90 times (lines + 1) high; the first line is 45 pixels from the top.
    """
    lines = filled(phrase, font, PHRASE_WIDTH)
    picture = Image.new("RGB", (PHRASE_WIDTH, PHRASE_SIZE * (len(lines) + 1)), "white")
    pen = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        pen.text((0, _PHRASE_TOP + PHRASE_SIZE * number), line, fill="black", font=font)
    return picture


def _path(file: str | None) -> Path:
    if file is not None:
        return user_path(file)
    found = find_spec("matplotlib")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / BUNDLED


def _is_shaped(letter: str) -> bool:
    # Vowel signs of Indian scripts and of Thai are marks, too.
    mark = unicodedata.category(letter).startswith("M")
    return mark or unicodedata.bidirectional(letter) in ("R", "AL")


@lru_cache(maxsize=8)
def _letters(path: str, changed: int) -> frozenset[int]:
    suffix = Path(path).suffix.lower()
    font = TTCollection(path).fonts[0] if suffix in (".ttc", ".otc") else TTFont(path)
    return frozenset(font.getBestCmap() or {})
