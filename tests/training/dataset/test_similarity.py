"""Texts and images that count as the same, on drawn and real pictures."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from vlmguard.training.dataset.fingerprints import ImageIndex, fingerprint
from vlmguard.training.dataset.similarity import (
    normalise_text,
    similarity,
    words,
)

VOCABULARY = st.lists(st.sampled_from([*"abcdefghijkl"]), max_size=12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  What's THIS,\tthen?! ", "what s this then"),
        ("ﬁne ＡＢＣ", "fine abc"),
        ("Straße", "strasse"),
        ("?!", ""),
    ],
)
def test_normalised_text(text: str, expected: str) -> None:
    assert normalise_text(text) == expected


@given(st.text(st.characters(max_codepoint=127)))
def test_plain_text_is_normalised_as_beside_other_letters(text: str) -> None:
    assert normalise_text(f"{text} é") == f"{normalise_text(text)} é".strip()


def test_words_of_scripts_without_spaces() -> None:
    assert words("安全地爬") == ("安全", "全地", "地爬")


@given(VOCABULARY, VOCABULARY)
def test_similarity_is_the_share_of_common_words(one: list[str], two: list[str]) -> None:
    found = similarity(" ".join(one), " ".join(two).upper())
    assert found == similarity(" ".join(two), " ".join(one))
    assert (found == 1.0) == (set(one) == set(two))
    assert (found == 0.0) == (set(one).isdisjoint(two) and bool(one or two))


def test_similarity_by_hand() -> None:
    assert similarity("a b c d", "D, c! b e") == pytest.approx(3 / 5)


def photo(seed: int) -> Image.Image:
    """A smooth scene with shapes, different for every seed."""
    picture = Image.linear_gradient("L").resize((320, 240)).convert("RGB")
    draw = ImageDraw.Draw(picture)
    for number in range(6):
        x, y = (seed * 73 + number * 131) % 280, (seed * 37 + number * 89) % 200
        colour = ((seed * 53) % 256, (number * 41) % 256, (seed * number * 29) % 256)
        draw.ellipse((x, y, x + 60, y + 50), fill=colour)
    return picture


def variants(picture: Image.Image) -> list[Image.Image]:
    """The picture after scaling and re-encoding."""
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=40)
    smaller = picture.resize((picture.width // 2, picture.height // 2))
    brighter = picture.point(lambda value: min(255, int(value * 1.1)))
    return [Image.open(buffer), smaller, brighter]


def test_a_re_encoded_image_is_found_and_another_is_not() -> None:
    index = ImageIndex([fingerprint(photo(seed)) for seed in range(20)])
    for seed in range(20):
        for variant in variants(photo(seed)):
            assert index.near(fingerprint(variant)) == [seed]
    assert index.near(fingerprint(photo(77))) == []


def test_flat_pictures_differ_by_colour() -> None:
    flat = [fingerprint(Image.new("RGB", (40, 40), colour)) for colour in ("red", "blue")]
    assert ImageIndex(flat).near(flat[1]) == [1]


def test_an_empty_index_finds_nothing() -> None:
    assert ImageIndex([]).near(fingerprint(photo(1))) == []


def test_real_typographic_images_are_told_apart(real_data: Any) -> None:
    files = sorted((real_data("figstep") / "data/images/SafeBench-Tiny").glob("*.png"))
    assert len(files) == 50
    pictures = [Image.open(file).convert("RGB") for file in files]
    index = ImageIndex([fingerprint(picture) for picture in pictures])
    for number, picture in enumerate(pictures):
        for variant in [picture, *variants(picture)]:
            assert index.near(fingerprint(variant)) == [number]
