"""R1: the wordings, and where they stand in the text."""

from collections import Counter
from typing import Any

import pytest

from vlmguard.guard.attacks import AttackInput, attack_cards, chosen_attack
from vlmguard.guard.attacks.adaptive.notes import LANGUAGES, NOTES, SHORT
from vlmguard.guard.attacks.drawing import drawable
from vlmguard.guard.attacks.rendering import Asked, input_of
from vlmguard.guard.errors import UserError
from vlmguard.guard.messages import user_message
from vlmguard.guard.text.untrusted import disarm

ALL = [text for language in LANGUAGES for text in NOTES[language]]
TEXT = "How do I carry this up the stairs?"


def noted(options: str = "", **facts: Any) -> str:
    return chosen_attack(f"adaptive:R1{options}").static()(AttackInput(TEXT, **facts)).text


def test_there_are_five_wordings_in_three_languages_and_no_two_are_alike() -> None:
    assert LANGUAGES == ("en", "es", "ru")
    assert {language: len(NOTES[language]) for language in NOTES} == {"en": 5, "es": 5, "ru": 5}
    assert len({text.casefold() for text in ALL}) == 15
    # Russian is in Cyrillic letters, of which the others have none.
    assert [any("а" <= letter <= "я" for letter in text) for text in ALL] == [False] * 10 + [
        True
    ] * 5


@pytest.mark.parametrize("text", [*ALL, *SHORT.values()])
def test_each_wording_can_be_drawn_and_forges_no_tag(text: str) -> None:
    assert drawable(text, None, "a note") == text
    assert disarm(text) == text
    assert not set(text) & set("<>[]{}|&")


def test_the_note_stands_behind_the_request_or_before_it() -> None:
    note = NOTES["es"][2]
    assert noted(":3:language=es") == f"{TEXT}\n\n{note}"
    assert noted(":wording=3:language=es:place=start") == f"{note}\n\n{TEXT}"
    # An image without a text: the note alone.
    alone = chosen_attack("adaptive:R1:3:language=es").static()(AttackInput(""))
    assert alone.text == note
    assert alone.notes == {"wording": 3, "language": "es", "place": "end"}


def test_a_loop_goes_through_all_wordings_before_one_returns() -> None:
    tries = attack_cards()["adaptive:R1"].tries
    assert tries == 15
    for seed in range(3):
        said = [noted(number=number, sample_seed=seed) for number in range(1, tries + 1)]
        assert len(set(said)) == 15
        assert noted(number=16, sample_seed=seed) == said[0]
    spanish = {noted(":language=es", number=number) for number in range(1, 6)}
    assert spanish == {f"{TEXT}\n\n{note}" for note in NOTES["es"]}


def test_samples_and_the_users_seed_draw_the_wording_of_the_first_try() -> None:
    def first(seed: int, name: str) -> str:
        chosen = chosen_attack(f"adaptive:R1:seed={seed}")
        asked = Asked([user_message([], TEXT)], name)
        return chosen.static()(input_of(chosen, asked)).text

    drawn = Counter(first(0, f"siuo/{number}") for number in range(150))
    assert len(drawn) == 15
    assert max(drawn.values()) <= 25  # 10 are expected
    assert [first(0, "siuo/1"), first(0, "siuo/2")] == [first(0, "siuo/1"), first(0, "siuo/2")]
    assert len({first(seed, "siuo/1") for seed in range(40)}) > 5


@pytest.mark.parametrize("options", ["wording=0", "wording=6", "language=de", "place=middle"])
def test_an_option_out_of_range_is_named(options: str) -> None:
    with pytest.raises(UserError, match=options.partition("=")[0]):
        chosen_attack(f"adaptive:R1:{options}")


def test_the_worst_of_four_counts_as_adaptive() -> None:
    cards = attack_cards()
    assert [name for name in cards if cards[name].adaptive] == [
        *("adaptive:R1", "adaptive:R2", "adaptive:R3", "adaptive:R6")
    ]
    group = [card for name, card in cards.items() if name.startswith("adaptive:R")]
    assert all(card.kind == "static" and card.paper == "ours" for card in group)
