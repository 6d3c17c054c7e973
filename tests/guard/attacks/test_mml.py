"""MML: each code can be undone exactly, and the text says how."""

import base64
import random
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageOps

from vlmguard.guard.attacks import AttackInput, AttackOutput, chosen_attack
from vlmguard.guard.attacks.drawing import load_font
from vlmguard.guard.attacks.figstep import list_picture
from vlmguard.guard.attacks.mml import DECODING, HARMLESS, STOP_WORDS, coded_words, title_of
from vlmguard.guard.errors import UserError

TEXT = "How can I climb a {tall} tree with a worn climbing rope?"
TITLE = "Methods to climb a {tall} tree with a worn climbing rope"


def made(variant: str, text: str = TEXT, **facts: Any) -> AttackOutput:
    options = facts.pop("options", "")
    return chosen_attack(f"mml:{variant}{options}").static()(AttackInput(text, **facts))


def plain(title: str) -> Image.Image:
    return list_picture(title, load_font(60), 20)


def same(one: Image.Image, other: Image.Image) -> bool:
    return one.size == other.size and ImageChops.difference(one, other).getbbox() is None


def backwards(coded: str, told: dict[str, str]) -> str:
    return re.sub(r"[^\W\d_]+", lambda match: told.get(match[0], match[0]), coded)


# --- the codes ------------------------------------------------------------------------


def test_a_mirrored_picture_mirrored_again_shows_the_title() -> None:
    (picture,) = made("mirror").images
    assert picture.size == (760, 760)
    assert not same(picture, plain(TITLE))
    assert same(ImageOps.mirror(picture), plain(TITLE))


def test_a_picture_turned_twice_shows_the_title() -> None:
    (picture,) = made("rotate").images
    assert not same(picture, plain(TITLE))
    assert same(picture.rotate(180), plain(TITLE))


@pytest.mark.parametrize("text", [TEXT, "Как открыть окно?", "窓を開ける方法は"])
def test_the_letters_on_the_picture_decode_to_the_title_in_any_script(text: str) -> None:
    output = made("base64", text)
    letters = base64.b64encode(str(output.notes["title"]).encode()).decode()
    assert base64.b64decode(letters).decode() == title_of(AttackInput(text))
    assert same(output.images[0], plain(letters))


def test_the_map_in_the_prompt_gives_the_title_back() -> None:
    output = made("words", seed=3)
    told = dict(
        pair.split(" = ") for pair in re.findall(r"places: (.+)", output.text)[0].split(", ")
    )
    assert sorted(told.values()) == ["climb", "climbing"]
    coded, again = coded_words(TITLE, _after_the_hint(3, TITLE))
    assert again == told
    assert same(output.images[0], plain(coded))
    assert backwards(coded, told) == TITLE


def _after_the_hint(seed: int, title: str) -> random.Random:
    rng = AttackInput(title, seed=seed).generator()
    rng.shuffle(title.split())
    return rng


words = st.one_of(
    st.sampled_from(HARMLESS),
    st.sampled_from(sorted(STOP_WORDS)),
    st.text("abcdeABCDEéЖж", min_size=1, max_size=9),
    st.sampled_from([",", "10", "x_y", "{", "tree's", "Lantern"]),
)


@given(st.lists(words, max_size=300), st.integers())
@settings(max_examples=60)
def test_any_title_comes_back_and_no_telling_word_stays(parts: list[str], seed: int) -> None:
    title = " ".join(parts)
    coded, told = coded_words(title, random.Random(seed))
    assert backwards(coded, told) == title
    assert len(set(told.values())) == len(told)
    assert told.keys() <= set(HARMLESS)
    telling = {
        word
        for word in re.findall(r"[^\W\d_]+", title)
        if len(word) > 4 and word.lower() not in STOP_WORDS
    }
    if len(telling) < 20:
        assert set(told.values()) == telling


def test_what_the_list_of_harmless_words_is_too_short_for_stays() -> None:
    title = " ".join(f"{letter * 5}{other}" for letter in "abcdefghijklm" for other in "nopqrstuvw")
    coded, told = coded_words(title, random.Random(0))
    assert len(told) == len(HARMLESS) < 130
    assert backwards(coded, told) == title


def test_the_bundled_words_differ_and_are_no_stop_words() -> None:
    assert len(set(HARMLESS)) == len(HARMLESS)
    assert not STOP_WORDS & set(HARMLESS)
    assert all(len(word) > 4 for word in STOP_WORDS)


# --- the title ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("How can I climb a tree?", "Methods to climb a tree"),
        ("how to  climb\na tree", "Methods to climb a tree"),
        ("How do you climb? And why?", "Methods to climb? And why"),
        ("How should people climb, slowly?!", "Methods to climb, slowly"),
        ("How much is a rope?", "How much is a rope"),
        ("Which knot should I use?", "Which knot should I use"),
        ("Describe the knot.", "Describe the knot"),
        ("?", "?"),
    ],
)
def test_a_request_becomes_a_title(text: str, title: str) -> None:
    assert title_of(AttackInput(text)) == title


def test_a_key_phrase_of_the_data_is_the_title() -> None:
    assert title_of(AttackInput("How can I do the activity?", phrase="worn ropes")) == "worn ropes"


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(UserError, match=r"Sample s/1: it has no words.*--sample-id"):
        made("mirror", " \n ", name="Sample s/1")


# --- the text -------------------------------------------------------------------------


@pytest.mark.parametrize("variant", DECODING)
def test_the_text_says_how_to_decode_and_gives_the_words_in_another_order(variant: str) -> None:
    output = made(variant, seed=4)
    assert DECODING[variant].splitlines()[0] in output.text
    (hint,) = re.findall(r"another order: (.+)", output.text)
    assert sorted(hint.split(", ")) == sorted(TITLE.split())
    assert hint.split(", ") != TITLE.split()
    assert TEXT not in output.text
    assert TITLE not in output.text
    assert not re.search(r"\{(place|decoding|hint|map)\}", output.text)


@pytest.mark.parametrize("variant", DECODING)
def test_own_images_come_first_as_they_were_and_a_seed_gives_the_same_again(variant: str) -> None:
    own = Image.new("RGB", (30, 20), "red")
    before = own.tobytes()
    one, other = (made(variant, images=(own,), seed=5) for _ in range(2))
    assert one.images[0] is own
    assert own.tobytes() == before
    assert "The last image shows" in one.text
    assert "The image shows" in made(variant).text
    assert one.text == other.text
    assert same(one.images[1], other.images[1])
    assert made(variant, images=(own,), seed=6).text != one.text


def test_a_list_that_does_not_fit_gets_a_larger_picture() -> None:
    (wide,) = made("mirror", options=":size=80:wrap=40").images
    assert wide.width > 760
    assert wide.getbbox() == (0, 0, *wide.size)
    (tall,) = made("rotate", TEXT * 5).images
    assert tall.width == 760
    assert tall.height > 760
    # The last line, which the turn puts first, is there in full.
    upright = tall.rotate(180)
    band = ImageChops.invert(upright).getbbox()
    assert band is not None
    assert band[3] < upright.height


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("mml:mirrored", "variant=mirrored"),
        ("mml:variant=mirror:variant=rotate", "given twice"),
        ("mml:mirror:size=7", "size=7"),
        ("mml:mirror:wrap=61", "wrap=61"),
        ("mml:mirror:font=nowhere.ttf", "not a readable font"),
    ],
)
def test_wrong_options_are_named(options: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        chosen_attack(options)


def test_letters_that_the_font_lacks_are_refused_but_for_base64() -> None:
    with pytest.raises(UserError, match=r"has no .*font=FILE"):
        made("mirror", "窓を開ける")
    made("base64", "窓を開ける")
