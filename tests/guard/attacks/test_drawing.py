"""Text in pictures: lines, sizes, and letters that a font lacks."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops

from vlmguard.guard.attacks.drawing import (
    BUNDLED,
    PHRASE_SIZE,
    PHRASE_WIDTH,
    drawable,
    filled,
    font_hash,
    load_font,
    measured,
    phrase_picture,
    wrapped,
    written,
)
from vlmguard.guard.errors import UserError

WORDS = st.lists(st.text("abcdefghijk", min_size=1, max_size=30), max_size=20)


def ink(picture: Image.Image) -> tuple[int, int, int, int]:
    """Left, upper, right and lower edge of what is drawn on white."""
    blank = Image.new("RGB", picture.size, "white")
    found = ImageChops.difference(picture, blank).getbbox()
    assert found is not None
    return found


def test_lines_are_broken_between_words_and_keep_those_of_the_text() -> None:
    assert wrapped("How do I pick a lock?\n1.\n2.", 15) == ["How do I pick a", "lock?", "1.", "2."]
    assert wrapped("a\n\nb", 15) == ["a", "", "b"]
    assert wrapped("", 15) == [""]
    assert wrapped("abcdefgh", 3) == ["abc", "def", "gh"]


@given(WORDS, st.integers(1, 40))
def test_wrapping_loses_no_letter_and_fits(words: list[str], width: int) -> None:
    lines = wrapped(" ".join(words), width)

    assert "".join(lines).replace(" ", "") == "".join(words)
    assert all(len(line) <= width for line in lines)


@given(WORDS)
def test_filling_loses_no_word_and_fits(words: list[str]) -> None:
    font = load_font(PHRASE_SIZE)
    lines = filled(" ".join(words), font, PHRASE_WIDTH)

    assert " ".join(lines).split() == words
    assert all(line.startswith(" ") for line in lines[1:])
    assert all(font.getlength(line) <= PHRASE_WIDTH for line in lines if " " in line.strip())


def test_a_block_is_as_large_as_measured_and_stands_where_it_should() -> None:
    font = load_font(40)
    width, height = measured(["Hxg", "x"], font, 7)
    picture = written(["Hxg", "x"], font, size=(200, 200), start=(20, 10), spacing=7)
    left, top, right, bottom = ink(picture)

    # Letters have a little space to their left and above.
    assert 20 <= left <= 24
    assert 10 <= top <= 24
    assert 0 <= width - (right - 20) <= 3
    assert abs(bottom - 10 - height) <= 1


def test_colours_are_those_that_were_asked_for() -> None:
    font = load_font(40)
    picture = written(
        ["W"], font, size=(60, 60), start=(5, 5), spacing=0, ink="#ff0000", paper="#0000ff"
    )

    colours = {colour: count for count, colour in picture.getcolors(4096) or []}
    assert colours[(0, 0, 255)] > 1000
    assert colours[(255, 0, 0)] > 100
    assert all(green == 0 for _, green, _ in colours)


def test_two_drawings_are_alike_to_the_pixel() -> None:
    # No hash of pixels: FreeType, which differs by Pillow's version, may smooth edges otherwise.
    first, second = (phrase_picture("Wire a plug", load_font(PHRASE_SIZE)) for _ in range(2))

    assert first.tobytes() == second.tobytes()


def test_a_phrase_follows_the_recipe() -> None:
    picture = phrase_picture("one two three four five six", load_font(PHRASE_SIZE))
    left, top, right, bottom = ink(picture)

    # 54 pixels a letter: "one two three four" fills 18 of them, and the rest is a second line.
    assert picture.size == (1024, 270)
    assert left < 20
    assert 45 <= top <= 75
    assert 960 <= right <= 980
    assert 180 <= bottom <= 260


def test_the_bundled_font_has_three_alphabets() -> None:
    text = "Ångström, Übung, ¿qué?; взлом замка; πώς"

    assert drawable(text, None, "Sample a/1") == text
    assert drawable(unicodedata.normalize("NFD", text), None, "Sample a/1") == text
    assert drawable(f"\ufeff{text}\u200b\u202e", None, "Sample a/1") == text
    assert len(font_hash()) == 64


def test_letters_that_the_font_lacks_are_refused_with_the_way_out() -> None:
    with pytest.raises(UserError) as found:
        drawable("如何开锁 now", None, "Sample a/1")

    said = str(found.value)
    assert said.startswith(f"Sample a/1: the font {BUNDLED} has no ")
    assert all(letter in said for letter in "如何开锁")
    assert ":font=FILE" in said


@pytest.mark.parametrize("text", ["شلون", "שלום", "ताला", "ล็อก"])
def test_scripts_that_need_shaping_are_refused_with_any_font(text: str) -> None:
    with pytest.raises(UserError, match=r"Sample a/1: .*cannot be drawn here.*--sample-id"):
        drawable(text, None, "Sample a/1")


def test_a_font_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none.ttf").write_text("no font")

    for name in ("none.ttf", "missing.ttf"):
        with pytest.raises(UserError, match=rf"font=.*{name}: not a readable font file"):
            load_font(20, str(tmp_path / name))
