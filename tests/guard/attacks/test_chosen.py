"""How an attack is spelled: what a user types, what logs say, and that both mean the same."""

import json
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from shutil import copyfile
from typing import Any, Literal, get_args

import matplotlib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.attacks import registered

from vlmguard.guard.attacks import (
    Attack,
    AttackCard,
    AttackOutput,
    attack_cards,
    chosen_attack,
)
from vlmguard.guard.attacks.base import factory_of
from vlmguard.guard.attacks.drawing import BUNDLED, font_hash
from vlmguard.guard.errors import UserError

NAMES = list(attack_cards())
PROBE = AttackCard("test:probe", "Probe", "1-A", "ours", "for these tests", draws=True)


def probe(
    mode: Literal["plain", "loud"] = "plain",
    share: float = 0.5,
    count: int = 3,
    extra: bool = False,
    words: str | None = None,
    font: str | None = None,
) -> Attack:
    return lambda given: AttackOutput(given.text, given.images)


@pytest.fixture(autouse=True, scope="module")
def with_probe() -> Iterator[None]:
    with registered(PROBE, probe):
        yield


OPTIONS = {
    "mode": st.sampled_from(["plain", "loud"]),
    "share": st.floats(allow_nan=False, allow_infinity=False),
    "count": st.integers(),
    "extra": st.booleans(),
    # A colon ends an option, so no value can hold one.
    "words": st.text(st.characters(exclude_characters=":", exclude_categories=["Cs"])),
}


@given(st.fixed_dictionaries({}, optional=OPTIONS), st.integers())
def test_an_attack_read_from_its_own_text_is_the_same(options: dict[str, Any], seed: int) -> None:
    typed = [f"{name}={value}" for name, value in {**options, "seed": seed}.items()]
    chosen = chosen_attack(":".join(["test:probe", *typed]))
    assert chosen.options == options
    assert chosen.seed == seed
    assert chosen_attack(chosen.text) == chosen
    assert chosen_attack(":".join(["test:probe", *reversed(typed)])).text == chosen.text
    assert json.loads(json.dumps(chosen.identity)) == chosen.identity


@pytest.mark.parametrize("name", NAMES)
def test_every_attack_is_read_with_each_option_as_it_is_by_default(name: str) -> None:
    parameters = signature(factory_of(name), eval_str=True).parameters
    assert chosen_attack(name).text == name
    for option, parameter in parameters.items():
        assert parameter.default is not parameter.empty, "an attack works without options"
        for value in get_args(parameter.annotation) or (parameter.default,):
            if value is None or isinstance(value, type):
                continue
            chosen = chosen_attack(f"{name}:{option}={value}:seed=9")
            assert chosen.options == {option: value}
            assert chosen.text == f"{name}:{option}={value}:seed=9"
            assert chosen_attack(chosen.text) == chosen


@pytest.mark.parametrize("name", NAMES)
def test_every_attack_says_what_lists_and_logs_show(name: str) -> None:
    card = attack_cards()[name]
    assert card.name == name
    assert all((card.title, card.version, card.paper, card.summary))
    known = signature(factory_of(name)).parameters
    assert set(card.options) <= set(known)
    assert ("font" in known) <= card.draws
    assert card.tries > 1 or card.kind == "static"


def test_the_first_option_needs_no_name_and_a_group_is_part_of_the_name() -> None:
    assert chosen_attack("test:probe:loud").options == {"mode": "loud"}
    assert chosen_attack("test:probe:loud:count=2").text == "test:probe:count=2:mode=loud"
    assert chosen_attack("mml:rotate").options == {"variant": "rotate"}


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("share=1e-05", 1e-05),
        ("share=2", 2),
        ("count=1_000", 1000),
        ("extra=yes", True),
        ("words=007", "007"),
        ("words='a'", "'a'"),
        ("words=a # b", "a # b"),
        ("words=null", "null"),
        ("words=a=b", "a=b"),
        ("words=", ""),
    ],
)
def test_a_value_is_what_it_looks_like(typed: str, value: object) -> None:
    assert list(chosen_attack(f"test:probe:{typed}").options.values()) == [value]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("figstap", "-T attack=figstap: there is no such attack. .*figstep"),
        ("test", "-T attack=test: there is no such attack. test is a group.*attack list"),
        ("R2", "no such attack. Did you mean adaptive:R2?"),
        ("R9", "no such attack. R9 is best_of_n"),
        ("adaptive:R9", "no such attack. R9 is best_of_n"),
        ("", "-T attack=: there is no such attack"),
        ("test:probe:size=1", "test:probe has no option 'size=1'.*mode, share, .*seed"),
        ("test:probe:shore=1", "has no option 'shore=1'. Did you mean .*share"),
        ("test:probe:loud:plain", "has no option 'plain'"),
        ("test:probe:", "mode= is not known"),
        ("test:probe:quiet", "mode=quiet is not known. Choose one of: plain, loud"),
        ("test:probe:share=much", "share='much': a number is needed"),
        ("test:probe:share=true", "share=True: a number is needed"),
        ("test:probe:count=1.5", "count=1.5: a whole number is needed"),
        ("test:probe:extra=1", "extra=1: true or false is needed"),
        ("test:probe:seed=x", "seed='x': a whole number is needed"),
        ("test:probe:seed=true", "seed=True: a whole number is needed"),
        ("test:probe:count=1:count=1", "count is given twice"),
        ("test:probe:seed=1:seed=2", "seed is given twice"),
        ("si_attack:3", "si_attack has no option '3'.*It has: seed"),
        ("figstep:size=1000", "size=1000: a number from 8 to 200"),
        ("figstep:font=nowhere.ttf", "font=nowhere.ttf: not a readable font"),
        ("figstep:font=/tmp", "font=/tmp: not a readable font"),
    ],
)
def test_what_cannot_be_is_named_with_what_can(typed: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        chosen_attack(typed)


def test_the_flag_is_named_as_the_user_typed_it() -> None:
    with pytest.raises(UserError, match="-S attack=nothing: there is no such attack"):
        chosen_attack("nothing", "-S attack")


def test_a_font_counts_by_its_content_not_by_its_path(tmp_path: Path) -> None:
    one, other = tmp_path / "one.ttf", tmp_path / "other.ttf"
    for copy in (one, other):
        copyfile(Path(matplotlib.get_data_path(), "fonts", "ttf", BUNDLED), copy)
    plain = chosen_attack("figstep").identity
    assert plain["font"] == font_hash()
    assert chosen_attack(f"figstep:font={one}").identity == plain
    chosen = chosen_attack(f"figstep:font={other}")
    other.write_bytes(other.read_bytes() + b"\0")
    assert chosen.identity["font"] != font_hash()
    assert "font" not in chosen_attack("si_attack").identity


def test_an_option_that_is_left_out_and_its_default_are_one_attack() -> None:
    assert chosen_attack("mml").identity == chosen_attack("mml:mirror").identity
    assert chosen_attack("mml").identity != chosen_attack("mml:rotate").identity


def test_attacks_stand_in_the_order_of_their_numbers() -> None:
    names = [name for name in attack_cards() if name.startswith("adaptive:R")]
    assert names == [f"adaptive:R{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13)]
