"""A contact sheet: what an attack makes of a few samples, to look at.

Each sample is a row: the request before, and beside it what is sent, with all pictures of a message
one below the other and the text beneath.
"""

import re
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw

from vlmguard.guard.attacks.drawing import load_font, undrawn

__all__ = ["Panel", "Row", "contact_sheet", "shortened", "visible"]

COLUMN: Final = 400
"""Pixels of a column's width, and the most of a picture's height."""

MARGIN: Final = 24
_GAP: Final = 10
_SIZE: Final = 14
_SMALL: Final = 200
"""Pictures smaller than this are shown larger, in whole steps."""
_MOST: Final = 1_200
"""Letters of a text that are shown."""

_WORD: Final = re.compile(r"[^\W\d_]+")
_HIDDEN: Final = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Categories of characters that nobody sees."""

_INK: Final = "#1a1a1a"
_GREY: Final = "#6b6b6b"
_LINE: Final = "#c4c4c4"
_PAPER: Final = "#f6f6f4"


@dataclass(frozen=True)
class Panel:
    """A message.

    Attributes:
        heading: What it is.
        pictures: Its pictures, each with what is said of it.
        text: Its text.
        remark: What is said beneath.
    """

    heading: str
    pictures: Sequence[tuple[Image.Image, str]]
    text: str
    remark: str = ""


@dataclass(frozen=True)
class Row:
    """A sample.

    Attributes:
        heading: Its name.
        panels: What was asked, and what is sent.
    """

    heading: str
    panels: Sequence[Panel]


def contact_sheet(title: str, rows: Sequence[Row]) -> Image.Image:
    """All rows below each other.

    Args:
        title: What stands above them.
        rows: The samples, one at least.
    """
    columns = max(len(row.panels) for row in rows)
    width = columns * (COLUMN + MARGIN) - MARGIN
    blocks = [_written(title, width, 20, _INK)]
    for row in rows:
        rule = Image.new("RGB", (width, 1), _LINE)
        panels = _beside([_panel(panel) for panel in row.panels])
        blocks += [rule, _written(row.heading, width, 16, _INK), panels]
    body = _below(blocks, MARGIN - _GAP)
    sheet = Image.new("RGB", (body.width + 2 * MARGIN, body.height + 2 * MARGIN), _PAPER)
    sheet.paste(body, (MARGIN, MARGIN))
    return sheet


def shortened(text: str, most: int = _MOST) -> str:
    """A text without its middle, if it is long."""
    if len(text) <= most:
        return text
    head, tail = most * 2 // 3, most // 3
    left_out = f"{len(text) - head - tail:,} characters left out"
    return f"{text[:head]} [... {left_out} ...] {text[-tail:]}"


def visible(text: str) -> str:
    """A text in which what nobody would see is shown by its number, such as `<U+200B>`.

    These are invisible and steering characters, and letters of other scripts in a word with Latin
    ones, which look like Latin letters.
    """
    text = "".join(_number(each) if _is_hidden(each) else each for each in text)
    return _WORD.sub(_with_numbers, text)


def _is_hidden(letter: str) -> bool:
    return letter not in "\n\t" and unicodedata.category(letter) in _HIDDEN


def _with_numbers(word: re.Match[str]) -> str:
    foreign = {each for each in word[0] if not unicodedata.name(each, "").startswith("LATIN ")}
    if len(foreign) == len(set(word[0])):
        return word[0]
    return "".join(_number(each) if each in foreign else each for each in word[0])


def _number(letter: str) -> str:
    return f"<U+{ord(letter):04X}>"


def _panel(panel: Panel) -> Image.Image:
    blocks = [_written(panel.heading, COLUMN, _SIZE, _INK)]
    for picture, said in panel.pictures:
        blocks += [_framed(picture), _written(said, COLUMN, _SIZE - 2, _GREY)]
    blocks.append(_written(shortened(visible(panel.text)) or "(no text)", COLUMN, _SIZE, _INK))
    if panel.remark:
        blocks.append(_written(panel.remark, COLUMN, _SIZE - 2, _GREY))
    return _below(blocks, _GAP)


def _framed(picture: Image.Image) -> Image.Image:
    """A picture in a thin frame, as large as a column has room for."""
    shown = picture.convert("RGB")
    times = _SMALL // max(shown.size)
    if times > 1:
        size = (shown.width * times, shown.height * times)
        shown = shown.resize(size, Image.Resampling.NEAREST)
    shown.thumbnail((COLUMN - 2, COLUMN - 2), Image.Resampling.LANCZOS)
    framed = Image.new("RGB", (shown.width + 2, shown.height + 2), _LINE)
    framed.paste(shown, (1, 1))
    return framed


def _written(text: str, width: int, size: int, ink: str) -> Image.Image:
    """Words on as many lines as they need; a letter that the font lacks is a white square."""
    font = load_font(size)
    lacking = undrawn(text)
    text = "".join("\N{WHITE SQUARE}" if each in lacking else each for each in text.expandtabs(4))
    letters = int(width // font.getlength("m"))
    lines = [part for line in text.split("\n") for part in textwrap.wrap(line, letters) or [""]]
    height = round(size * 1.35)
    block = Image.new("RGB", (width, height * len(lines)), _PAPER)
    pen = ImageDraw.Draw(block)
    for number, line in enumerate(lines):
        pen.text((0, height * number), line, fill=ink, font=font)
    return block


def _below(blocks: Sequence[Image.Image], gap: int) -> Image.Image:
    height = sum(block.height for block in blocks) + gap * (len(blocks) - 1)
    page = Image.new("RGB", (max(block.width for block in blocks), height), _PAPER)
    top = 0
    for block in blocks:
        page.paste(block, (0, top))
        top += block.height + gap
    return page


def _beside(blocks: Sequence[Image.Image]) -> Image.Image:
    page = Image.new(
        "RGB",
        (len(blocks) * (COLUMN + MARGIN) - MARGIN, max(block.height for block in blocks)),
        _PAPER,
    )
    for number, block in enumerate(blocks):
        page.paste(block, (number * (COLUMN + MARGIN), 0))
    return page
