"""The contact sheet: every picture and text is on it, in columns that meet nowhere."""

import pytest
from PIL import Image, ImageChops

from vlmguard.guard.attacks.sheet import (
    COLUMN,
    MARGIN,
    Panel,
    Row,
    contact_sheet,
    shortened,
    visible,
)

RED = Image.new("RGB", (640, 320), "#ff0000")
BLUE = Image.new("RGB", (30, 60), "#0000ff")


def box(sheet: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Where a colour is."""
    away = ImageChops.difference(sheet, Image.new("RGB", sheet.size, colour)).convert("L")
    found = away.point(lambda value: 255 * (value == 0)).getbbox()
    assert found is not None
    return found


def test_pictures_stand_in_their_columns_as_large_as_fits() -> None:
    before = Panel("before", [(RED, "640 x 320")], "one")
    sheet = contact_sheet("title", [Row("a/1", [before, Panel("after", [(BLUE, "new")], "two")])])

    assert sheet.width == 2 * COLUMN + 3 * MARGIN
    left, top, right, bottom = box(sheet, (255, 0, 0))
    # A frame of a pixel around it.
    assert (left, right - left, bottom - top) == (MARGIN + 1, COLUMN - 2, (COLUMN - 2) // 2)
    # Small pictures are shown larger by whole steps: 3 times 30 x 60 is the most below 200.
    left, second, right, bottom = box(sheet, (0, 0, 255))
    assert (left, right - left, bottom - second) == (COLUMN + 2 * MARGIN + 1, 90, 180)
    assert second == top


def test_a_row_is_as_high_as_its_highest_panel() -> None:
    low = Panel("before", [], "one")
    high = Panel("after", [(RED, "new"), (RED, "new")], "word " * 100, "remark")

    alone = contact_sheet("title", [Row("a/1", [low, high])]).height
    twice = contact_sheet("title", [Row("a/1", [low, high]), Row("a/2", [low, high])]).height
    assert contact_sheet("title", [Row("a/1", [low, low])]).height < alone < twice


def test_nothing_is_written_outside_of_its_column() -> None:
    wide = Panel("before", [], "W" * 300)
    sheet = contact_sheet("title", [Row("a/1", [wide, Panel("after", [], "")])])

    gutter = sheet.crop((MARGIN + COLUMN, 110, 2 * MARGIN + COLUMN, sheet.height))
    assert len(gutter.getcolors() or []) == 1


def test_letters_that_the_font_lacks_do_not_stop_a_sheet() -> None:
    assert contact_sheet("t", [Row("a/1", [Panel("before", [], "开锁 ताला", "")])]).height > 100


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u200bb", "a<U+200B>b"),
        ("\u202eab\u202c", "<U+202E>ab<U+202C>"),
        ("a\x1b[0m\ud800", "a<U+001B>[0m<U+D800>"),
        ("one\ntwo\tthree, naïve", "one\ntwo\tthree, naïve"),
        # A Cyrillic letter in a Latin word; words of one script stay.
        ("l\u043eck замок", "l<U+043E>ck замок"),
        ("λ ταυ", "λ ταυ"),
    ],
)
def test_what_nobody_would_see_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_long_text_keeps_its_beginning_and_its_end() -> None:
    shown = shortened("a" * 4000 + "b" * 4096, 1200)

    assert shown == "a" * 800 + " [... 6,896 characters left out ...] " + "b" * 400
    assert shortened("a" * 1200, 1200) == "a" * 1200
