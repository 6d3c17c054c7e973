"""Best-of-N: what the noise leaves, how much it changes, and that a seed gives the same again."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vlmguard.guard.attacks import AttackInput, AttackOutput, chosen_attack
from vlmguard.guard.attacks.best_of_n import noised, recapitalized, scrambled
from vlmguard.guard.errors import UserError

TEXT = "How do I climb this tall tree with a climbing rope? " * 40


def made(options: str, **facts: Any) -> AttackOutput:
    return chosen_attack(f"best_of_n{options}").static()(AttackInput(TEXT, **facts))


def test_without_noise_the_request_is_sent_as_it_is() -> None:
    own = Image.new("RGB", (4, 4))
    for number in (1, 2):
        output = made("", images=(own,), seed=number, number=number)
        assert output.text == TEXT
        assert output.images[0] is own


def test_noise_differs_by_seed_and_pictures_stay() -> None:
    own = Image.new("RGB", (4, 4))
    texts = [made(":text", images=(own,), seed=seed).text for seed in (1, 2, 1)]
    assert texts[0] == texts[2] != texts[1]
    assert TEXT not in texts
    assert made(":text", images=(own,)).images[0] is own


@given(st.text(), st.integers())
def test_inner_letters_are_scrambled_and_nothing_else(text: str, seed: int) -> None:
    changed = scrambled(text, 1, random.Random(seed)).split()
    assert len(changed) == len(text.split())
    for word, other in zip(text.split(), changed, strict=True):
        assert sorted(word) == sorted(other)
        assert (word[0], word[-1]) == (other[0], other[-1])
        assert len(word) > 3 or word == other


@given(st.text(st.characters(max_codepoint=126)), st.integers())
def test_capitals_change_the_case_alone_and_noise_moves_by_one(text: str, seed: int) -> None:
    assert recapitalized(text, 1, random.Random(seed)) == text.swapcase()
    changed = noised(text, 1, random.Random(seed))
    assert len(changed) == len(text)
    for before, after in zip(text, changed, strict=True):
        assert abs(ord(before) - ord(after)) <= 1
        assert after.isprintable() or after == before


@given(st.text(), st.integers())
def test_a_share_of_nothing_changes_nothing_but_spaces(text: str, seed: int) -> None:
    rng = random.Random(seed)
    assert noised(recapitalized(text, 0, rng), 0, rng) == text
    assert scrambled(text, 0, rng) == " ".join(text.split())


def test_the_shares_are_those_of_the_options() -> None:
    rng = random.Random(0)
    letters = "a" * 4000
    swapped = recapitalized(letters, 0.25, rng).count("A")
    assert 900 < swapped < 1100
    moved = sum(each != "m" for each in noised("m" * 4000, 0.1, rng))
    assert 320 < moved < 480
    words = ["abcdefghij"] * 2000
    mixed = sum(word != "abcdefghij" for word in scrambled(" ".join(words), 0.5, rng).split())
    assert 900 < mixed < 1100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (":txt", "augment=txt"),
        (":text:noise=2", "noise=2.* from 0 to 1"),
        (":text:noise=.nan", "noise=nan"),
        (":noise=much", "noise"),
    ],
)
def test_wrong_options_are_named(options: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        made(options)
