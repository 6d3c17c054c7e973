"""JOOD: the ends of each mix are the pictures, and a loop sees all weights."""

import random

import pytest
from PIL import Image, ImageChops

from vlmguard.guard.attacks import AttackInput, chosen_attack
from vlmguard.guard.attacks.drawing import PHRASE_SIZE, load_font, phrase_picture
from vlmguard.guard.attacks.jood import STEPS, apple, mixed, padded

WIDE = Image.linear_gradient("L").convert("RGB").resize((640, 200))
MIXES = ("blend", "cutmix", "resize_mix")


def test_pictures_get_a_common_page() -> None:
    wide, tall = padded(WIDE, Image.new("RGB", (10, 40), "navy"))

    assert wide.size == tall.size == (320, 320)
    # 640 x 200 became 320 x 100, in the middle of the page; 10 x 40 became 80 x 320.
    assert wide.getpixel((5, 109)) == (255, 255, 255)
    assert (
        wide.crop((0, 110, 320, 210)).tobytes()
        == WIDE.resize((320, 100), Image.Resampling.LANCZOS).tobytes()
    )
    assert tall.crop((120, 0, 200, 320)).getcolors() == [(80 * 320, (0, 0, 128))]
    assert tall.getpixel((119, 160)) == tall.getpixel((200, 160)) == (255, 255, 255)
    assert [each.size for each in padded(WIDE, WIDE)] == [(320, 100)] * 2


@pytest.mark.parametrize("mix", MIXES)
def test_the_ends_are_the_padded_pictures(mix: str) -> None:
    apply = {alpha: chosen_attack(f"jood:alpha={alpha}:mix={mix}").static() for alpha in (0.0, 1.0)}
    under, over = padded(WIDE, apple())

    assert apply[0.0](AttackInput("q", (WIDE,))).images[0].tobytes() == under.tobytes()
    assert apply[1.0](AttackInput("q", (WIDE,))).images[0].tobytes() == over.tobytes()


def test_blending_weighs_each_pixel() -> None:
    white, black = (Image.new("RGB", (320, 320), colour) for colour in ("white", "black"))
    mix = mixed(white, black, 0.3, "blend", random.Random(0))

    # 0.7 times 255 is 178.5.
    assert mix.getcolors() in ([(320 * 320, (178,) * 3)], [(320 * 320, (179,) * 3)])


@pytest.mark.parametrize("alpha", [0.1, 0.25, 0.64])
def test_a_rectangle_has_the_share_of_the_page(alpha: float) -> None:
    white, black = (Image.new("RGB", (320, 320), colour) for colour in ("white", "black"))
    for mix in ("cutmix", "resize_mix"):
        page = mixed(white, black, alpha, mix, random.Random(1))  # type: ignore[arg-type]
        covered = page.convert("L").histogram()[0]
        assert abs(covered / 320**2 - alpha) < 0.005


def test_cutmix_takes_the_same_place_of_both() -> None:
    under, over = padded(WIDE, apple())
    page = mixed(WIDE, apple(), 0.25, "cutmix", random.Random(1))

    left, top, right, bottom = ImageChops.difference(page, under).getbbox() or (0, 0, 0, 0)
    assert right - left <= 160
    assert bottom - top <= 160
    box = (left, top, right, bottom)
    assert page.crop(box).tobytes() == over.crop(box).tobytes()


def test_places_depend_on_the_seed_and_nothing_else() -> None:
    apply = chosen_attack("jood:mix=cutmix").static()
    pages = [apply(AttackInput("q", (WIDE,), seed=seed)).images[0].tobytes() for seed in (1, 1, 2)]

    assert pages[0] == pages[1] != pages[2]


@pytest.mark.parametrize(("attack", "first"), [("jood", 0.5), ("jood:0.25", 0.25), ("jood:0", 0.0)])
def test_tries_begin_with_the_alpha_that_is_set_and_see_all_steps(
    attack: str, first: float
) -> None:
    apply = chosen_attack(attack).static()
    seen = [
        apply(AttackInput("q", (WIDE,), number=number)).notes["alpha"] for number in range(1, 13)
    ]

    assert seen[0] == first
    assert set(STEPS) <= set(seen)
    assert chosen_attack(attack).card.tries == 11
    assert len(set(seen[:11])) == 11


def test_every_picture_is_mixed_and_the_text_says_so() -> None:
    apply = chosen_attack("jood").static()

    assert len(apply(AttackInput("Which?", (WIDE, WIDE))).images) == 2
    assert apply(AttackInput("Which?", (WIDE, WIDE))).text.startswith(
        "Each image shows two objects"
    )
    assert apply(AttackInput("Which?", (WIDE,))).text.startswith("The image shows two objects")
    assert apply(AttackInput("Which?", (WIDE,))).text.endswith("\n\nWhich?")


@pytest.mark.parametrize(
    ("text", "phrase", "shown"),
    [
        ("How do I pick locks?", "", "pick locks"),
        ("How?", "pick locks", "pick locks"),
        ("What is this?", "", "What is this?"),
    ],
)
def test_without_a_picture_the_key_phrase_is_mixed(text: str, phrase: str, shown: str) -> None:
    sent = chosen_attack("jood:0").static()(AttackInput(text, phrase=phrase))

    expected, _ = padded(phrase_picture(shown, load_font(PHRASE_SIZE)), apple())
    assert [each.tobytes() for each in sent.images] == [expected.tobytes()]
    assert sent.steps == (f"{shown!r} drawn", "mixed with an apple")


def test_the_apple_is_red_on_white_with_a_green_leaf() -> None:
    picture = apple()

    assert picture.size == (320, 320)
    assert picture.getpixel((2, 2)) == (255, 255, 255)
    assert picture.getpixel((160, 200)) == (200, 32, 47)
    assert picture.getpixel((220, 45)) == (63, 143, 58)
