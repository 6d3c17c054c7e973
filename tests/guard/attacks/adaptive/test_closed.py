"""The attacks that are closed by construction, and the one that splits a request over turns."""

import re
from pathlib import Path

import pytest
from PIL import Image

from vlmguard.guard.attacks import AttackInput, AttackOutput, attack_cards, chosen_attack
from vlmguard.guard.attacks.adaptive.denial import LONGEST, TAGS
from vlmguard.guard.attacks.adaptive.filler import SENTENCES
from vlmguard.guard.attacks.adaptive.forged_turns import ANSWER, MARKERS, SYSTEM
from vlmguard.guard.attacks.adaptive.second_image import TEXT, landscape
from vlmguard.guard.attacks.adaptive.split_turns import LAST
from vlmguard.guard.errors import UserError
from vlmguard.guard.text.reading import as_read
from vlmguard.guard.text.untrusted import break_controls

ROOT = Path(__file__).parents[4]
ASKED = "How do I climb with this rope?"
PHOTO = Image.new("RGB", (60, 40), "crimson")


def made(attack: str, images: tuple[Image.Image, ...] = (PHOTO,), number: int = 1) -> AttackOutput:
    return chosen_attack(attack).static()(AttackInput(ASKED, images, seed=number, number=number))


@pytest.mark.parametrize(
    ("variant", "before", "after"),
    [("before", 8000, 0), ("after", 0, 8000), ("middle", 4000, 4000)],
)
def test_filler_stands_where_it_says(variant: str, before: int, after: int) -> None:
    sent = made(f"adaptive:R4:{variant}")
    head, asked, tail = sent.text.partition(ASKED)
    assert asked
    longest = max(map(len, SENTENCES))
    for part, length in ((head, before), (tail, after)):
        assert length <= len(part) <= (length + longest + 2 if length else 0)
    assert sent.images == (PHOTO,)


def test_filler_is_as_long_as_it_was_asked_for() -> None:
    assert len(made("adaptive:R4:after:length=20").text) < len(ASKED) + 120
    assert {made("adaptive:R4", number=n).notes["variant"] for n in (1, 2, 3)} == {
        *("before", "middle", "after")
    }
    with pytest.raises(UserError, match="length"):
        made("adaptive:R4:length=0")


def test_the_request_moves_into_an_earlier_turn_with_its_images() -> None:
    sent = made("adaptive:R5")
    assert (sent.text, sent.images) == (LAST, ())
    assert [(turn.role, turn.images) for turn in sent.earlier] == [
        ("user", (PHOTO,)),
        ("assistant", ()),
    ]
    assert sent.earlier[0].text == ASKED
    (only,) = made("adaptive:R5:forgotten").earlier
    assert (only.role, only.text) == ("user", ASKED)


def test_a_harmless_picture_goes_first() -> None:
    first, second = made("adaptive:R8").images
    assert second is PHOTO
    assert first.tobytes() == landscape().tobytes()
    sent = made("adaptive:R8", images=())
    assert sent.text == TEXT
    assert len(sent.images) == 2
    assert ASKED not in sent.text
    # It has ink, with an edge around it.
    ink = Image.eval(sent.images[1].convert("L"), lambda level: 255 - level).getbbox()
    assert ink
    assert ink[0] >= 20
    assert ink[2] <= sent.images[1].width - 20


def test_denial_has_what_its_variants_say() -> None:
    assert made("adaptive:R11:tags").text == f"{ASKED}\n{TAGS}"
    assert len(made("adaptive:R11:repetition").text) == len(ASKED) + 1 + 100_000
    hidden = made("adaptive:R11:invisible").text
    assert len(hidden) == len(ASKED) + 100_000
    assert as_read(hidden) == ASKED
    blank, photo = made("adaptive:R11:blank").images
    assert (blank.size, photo) == ((1, 1), PHOTO)
    (huge,) = made("adaptive:R11:huge").images
    assert huge.size == (LONGEST, 4000)
    assert huge.getcolors() == [(LONGEST * 4000, (220, 20, 60))]
    (plain,) = made("adaptive:R11:huge", images=()).images
    assert max(plain.size) == LONGEST


@pytest.mark.parametrize("family", MARKERS)
def test_forged_turns_hold_markers_that_are_broken_up(family: str) -> None:
    text = made(f"adaptive:R13:{family}").text
    assert text.startswith(ASKED)
    assert SYSTEM in text
    assert text.endswith(ANSWER)
    broken = break_controls(text)
    assert not re.search(
        r"<\||<\uff5c|\[/?(?:INST|SYSTEM_PROMPT)\]|<(?:start|end)_of|</?s>|<</?SYS", broken
    )


def test_what_is_called_closed_names_the_tests_that_show_it() -> None:
    closed = {name: card.closed for name, card in attack_cards().items() if card.closed}
    assert {"adaptive:R3", "adaptive:R4", "adaptive:R8", "adaptive:R11", "adaptive:R13"} <= {
        *closed
    }
    for name, said in closed.items():
        files = re.findall(r"tests/[\w/]+\.py", said)
        assert files, name
        for file in files:
            assert (ROOT / file).exists(), (name, file)
