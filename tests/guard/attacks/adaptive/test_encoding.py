"""R6: each encoding can be undone exactly."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmguard.guard.attacks import AttackInput, AttackOutput, attack_cards, chosen_attack
from vlmguard.guard.attacks.adaptive.encoding import BASE64, LEETSPEAK, VARIANTS
from vlmguard.guard.errors import UserError

ANY_TEXT = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from("aeiost4310５7 \n\u200b\u202e\u202cасеорхAВС[]"),
    ),
    min_size=1,
).filter(str.strip)


def encoded(variant: str, text: str, **facts: Any) -> AttackOutput:
    return chosen_attack(f"adaptive:R6:{variant}").static()(AttackInput(text, **facts))


def message(sent: AttackOutput, template: str) -> str:
    """The encoded message without the sentence on how to read it."""
    return sent.text.removesuffix(template.removeprefix("{request}"))


# --- exact inverses, none of them the attack's own code ---------------------------------


@given(ANY_TEXT)
def test_base64_is_that_of_the_utf8(text: str) -> None:
    said = message(encoded("base64", text), BASE64)
    assert base64.b64decode(said, validate=True).decode() == text


@given(ANY_TEXT)
def test_leetspeak_read_backwards_is_the_text(text: str) -> None:
    sent = encoded("leetspeak", text)
    said = message(sent, LEETSPEAK) if sent.notes["changed"] else sent.text
    back = {
        **dict(zip("431057", "aeiost", strict=True)),
        **dict(zip("４３１０５７", "431057", strict=True)),
        **dict(zip("aeiost", "４３１０５７", strict=True)),
    }
    assert "".join(back.get(letter, letter) for letter in said) == text


@given(ANY_TEXT, st.integers())
def test_every_second_character_is_the_text(text: str, seed: int) -> None:
    said = encoded("zero_width", text, seed=seed).text
    assert said[::2] == text
    assert set(said[1::2]) <= set("\u200b\u200c\u200d\u2060")


@given(ANY_TEXT)
def test_each_line_read_from_right_to_left_is_the_text(text: str) -> None:
    lines = encoded("right_to_left", text).text.split("\n")
    assert all((line[0], line[-1]) == ("\u202e", "\u202c") for line in lines)
    assert "\n".join(line[-2:0:-1] for line in lines) == text


@given(ANY_TEXT)
def test_look_alikes_of_look_alikes_are_the_text(text: str) -> None:
    once = encoded("homoglyphs", text).text
    assert encoded("homoglyphs", once).text == text
    assert len(once) == len(text)


# --- what is sent ---------------------------------------------------------------------


def test_goldens() -> None:
    assert encoded("base64", "Why?").text == BASE64.replace("{request}", "V2h5Pw==")
    sent = encoded("leetspeak", "Take 3 steps to it.")
    assert sent.text == LEETSPEAK.replace("{request}", "T4k3 ３ 573p5 70 17.")
    assert encoded("right_to_left", "up\nthere").text == "\u202epu\u202c\n\u202eereht\u202c"
    mixed = encoded("homoglyphs", "Open the box").text
    # O, p, e, h, o and x; n, t and b have no look-alike.
    assert mixed == "\u041e\u0440\u0435n t\u04bb\u0435 b\u043e\u0445"


def test_look_alikes_look_alike() -> None:
    latin, cyrillic = "ABCEHIJKMOPSTXYacehijopsxy", "АВСЕНІЈКМОРЅТХУасеһіјорѕху"
    assert encoded("homoglyphs", latin).text == cyrillic
    assert encoded("homoglyphs", cyrillic).text == latin


def test_what_a_variant_cannot_change_is_said_and_any_takes_another() -> None:
    sent = encoded("leetspeak", "今天")
    assert (sent.text, sent.notes["changed"]) == ("今天", False)
    assert sent.steps == ("leetspeak: this text has no letter to change",)
    drawn = {encoded("any", "今天", number=n).notes["variant"] for n in range(1, 9)}
    assert drawn == {"base64", "zero_width", "right_to_left"}


def test_the_encodings_take_turns() -> None:
    tries = attack_cards()["adaptive:R6"].tries
    assert tries == 5
    said = [encoded("any", "Open it.", number=n).notes["variant"] for n in range(1, tries + 1)]
    assert sorted(said) == sorted(VARIANTS)
    assert len({encoded("any", "Open it.", sample_seed=n).notes["variant"] for n in range(30)}) == 5


def test_a_request_without_text_is_not_changed() -> None:
    sent = encoded("base64", " ")
    assert (sent.text, sent.steps) == (" ", ("no text to encode",))


def test_an_unknown_encoding_is_named() -> None:
    with pytest.raises(UserError, match="variant=rot13 is not known"):
        chosen_attack("adaptive:R6:rot13")
