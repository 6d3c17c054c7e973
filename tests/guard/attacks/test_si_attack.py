"""SI-Attack: the same words and the same pieces, in another order for each seed."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vlmguard.guard.attacks import AttackInput, chosen_attack
from vlmguard.guard.attacks.si_attack import SIDE, shuffled_picture, shuffled_words

TEXT = "How do I climb this tree with  this\nrope?"


def picture(size: tuple[int, int]) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def quarters(image: Image.Image) -> list[bytes]:
    half = SIDE // 2
    return [image.crop((x, y, x + half, y + half)).tobytes() for x in (0, half) for y in (0, half)]


@pytest.mark.parametrize("size", [(1024, 1024), (300, 500)])
def test_the_quarters_are_the_same_in_another_order(size: tuple[int, int]) -> None:
    own = picture(size)
    whole = own.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    mixed = shuffled_picture(own, random.Random(1))
    assert mixed.size == (SIDE, SIDE)
    assert sorted(quarters(mixed)) == sorted(quarters(whole))
    assert quarters(mixed) != quarters(whole)


@given(st.text(), st.integers())
def test_the_words_are_the_same(text: str, seed: int) -> None:
    assert sorted(shuffled_words(text, random.Random(seed)).split()) == sorted(text.split())


def test_tries_differ_by_their_seed_and_the_first_one_is_shuffled_too() -> None:
    attack = chosen_attack("si_attack").static()
    images = (picture((64, 48)), picture((64, 64)))
    before = [image.tobytes() for image in images]
    tries = [attack(AttackInput(TEXT, images, seed=seed)) for seed in range(6)]
    again = attack(AttackInput(TEXT, images, seed=2))
    assert again.text == tries[2].text
    assert [i.tobytes() for i in again.images] == [i.tobytes() for i in tries[2].images]
    assert len({output.text for output in tries}) == 6
    assert tries[0].text.split() != TEXT.split()
    assert len({image.tobytes() for output in tries for image in output.images}) > 6
    assert [image.tobytes() for image in images] == before
    assert tries[0].steps == ("9 words shuffled", "quarters of 2 pictures of 1024 px shuffled")


def test_a_text_alone_has_its_words_shuffled() -> None:
    output = chosen_attack("si_attack").static()(AttackInput(TEXT, seed=1))
    assert output.images == ()
    assert output.steps == ("9 words shuffled",)
