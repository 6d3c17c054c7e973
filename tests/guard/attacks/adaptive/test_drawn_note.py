"""R2: notes in pictures are legible, whole, and where they should be."""

import re
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

from vlmguard.guard.attacks import AttackInput, AttackOutput, chosen_attack
from vlmguard.guard.attacks.adaptive.notes import LANGUAGES, NOTES, SHORT
from vlmguard.guard.attacks.adaptive.placing import (
    calmest,
    fitting,
    letter_size,
    on_plate,
    with_faint,
    with_footer,
)
from vlmguard.guard.errors import UserError
from vlmguard.training.microworld.world.drawing import draw
from vlmguard.training.microworld.world.hazards import PICTURES

Box = tuple[int, int, int, int]
TEXT = "How do I carry this up the stairs?"
NOTE = NOTES["en"][4]


def photo(width: int = 480, height: int = 360) -> Image.Image:
    """Noise on a slope, with a calm blue patch at the lower left."""
    noise = Image.effect_noise((width, height), 60).convert("RGB")
    slope = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    made = Image.blend(noise, slope, 0.5)
    made.paste((40, 80, 150), (0, height * 2 // 3, width, height))
    return made


def drawn(options: str, *images: Image.Image, **facts: Any) -> AttackOutput:
    return chosen_attack(f"adaptive:R2:{options}").static()(AttackInput(TEXT, images, **facts))


def changed(before: Image.Image, after: Image.Image) -> Box:
    """Where two pictures of one size differ."""
    box = ImageChops.difference(before, after).getbbox()
    assert box is not None
    return box


def box_of(step: str) -> Box:
    found = re.search(r"box \((\d+), (\d+), (\d+), (\d+)\)", step)
    assert found
    left, top, right, bottom = map(int, found.groups())
    return left, top, right, bottom


def is_inside(inner: Box, outer: Box) -> bool:
    return (
        inner[0] >= outer[0]
        and inner[1] >= outer[1]
        and inner[2] <= outer[2]
        and inner[3] <= outer[3]
    )


# --- the three places -----------------------------------------------------------------


def test_a_note_in_a_corner_is_black_on_a_plate_and_hides_what_is_calm() -> None:
    before = photo()
    sent = drawn("corner:wording=5:language=en", before)
    (after,) = sent.images
    (step,) = sent.steps

    assert sent.text == TEXT
    assert after.size == (480, 360)
    left, top, right, bottom = changed(before, after)
    # A margin of 9 pixels (a 40th of 360) around the writing, at the lower left.
    assert (left, bottom) == (0, 360)
    assert box_of(step) == (9, top + 9, right - 9, 351)
    assert f"{NOTE!r} drawn at corner, letters of 12 px" in step
    plate = after.crop((left, top, right, bottom)).convert("L")
    assert plate.getextrema() == (0, 255)
    assert plate.crop((0, 0, 9, plate.height)).getextrema() == (255, 255)
    assert plate.crop((0, 0, plate.width, 9)).getextrema() == (255, 255)
    assert right - left <= 480
    assert bottom - top <= 120
    assert (sent.notes["smallest_letters"], sent.notes["short"]) == (12, False)


def test_letters_are_a_thirtieth_of_the_shorter_side_within_bounds() -> None:
    assert [letter_size(size) for size in ((64, 64), (900, 480), (600, 2000), (3000, 2000))] == [
        *(12, 16, 20, 24)
    ]
    sent = drawn("corner:wording=5:language=en", photo(1200, 600))
    assert sent.notes["smallest_letters"] == 20


@pytest.mark.parametrize("levels", [14, 24])
@pytest.mark.parametrize("colour", ["black", "white", "red", (127, 128, 127), (250, 240, 10)])
def test_faint_letters_differ_from_the_picture_by_5_to_10_percent(
    levels: int, colour: str | tuple[int, int, int]
) -> None:
    before = Image.new("RGB", (400, 300), colour)
    lettering = fitting(NOTE, (380, 100), (12,))
    assert lettering is not None
    after, box, ink = with_faint(before, lettering, levels)

    paper = before.convert("L").getpixel((0, 0))
    brightness = Image.new("RGB", (1, 1), ink).convert("L").getpixel((0, 0))
    assert isinstance(paper, int)
    assert isinstance(brightness, int)
    assert 0.05 <= abs(brightness - paper) / 255 <= 0.10
    # What was drawn is that faint, and nothing is fainter than nothing or stronger than the ink.
    difference = ImageChops.difference(before, after).convert("L")
    assert 0.05 <= int(difference.getextrema()[1]) / 255 <= 0.10  # type: ignore[arg-type]
    assert is_inside(changed(before, after), box)
    assert is_inside(box, (0, 0, 400, 300))


def test_a_faint_note_stands_where_a_photo_is_calmest_and_differs_from_it_there() -> None:
    before = photo()
    for seed in range(5):
        sent = drawn("low_contrast:wording=5:language=en", before, seed=seed)
        (after,) = sent.images
        box = box_of(sent.steps[0])
        assert is_inside(changed(before, after), box)
        assert box[1] >= 240  # the calm part
        under = ImageStat.Stat(before.crop(box).convert("L"))
        assert under.stddev == [0.0]
        strongest = ImageChops.difference(before, after).convert("L").getextrema()[1]
        assert 0.05 <= int(strongest) / 255 <= 0.10  # type: ignore[arg-type]
        assert int(strongest) / 255 == pytest.approx(sent.notes["contrast"], abs=0.005)


def test_a_footer_leaves_the_picture_as_it_is_and_makes_it_taller() -> None:
    before = photo()
    sent = drawn("footer:wording=5:language=en", before)
    (after,) = sent.images
    assert after.width == 480
    assert after.crop((0, 0, 480, 360)).tobytes() == before.tobytes()
    strip = after.crop((0, 360, 480, after.height)).convert("L")
    assert 0 < strip.height <= 180
    assert strip.getextrema() == (0, 255)
    left, top, right, bottom = box_of(sent.steps[0])
    assert ImageChops.invert(strip).getbbox() == (left, top - 360, right, bottom - 360)
    assert after.height - bottom == top - 360 == left == 9


def test_every_image_gets_the_note_and_a_request_without_one_gets_a_picture() -> None:
    one, two = photo(), photo(200, 400)
    sent = drawn("footer", one, two)
    assert len(sent.images) == len(sent.steps) == 2
    assert [after.width for after in sent.images] == [480, 200]
    assert all(
        after.height > before.height for after, before in zip(sent.images, (one, two), strict=True)
    )
    alone = drawn("corner:wording=5:language=en")
    (plain,) = alone.images
    assert plain.size == (512, 384)
    assert "a plain picture that is added" in alone.steps[0]


# --- what fits ------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["corner", "low_contrast", "footer"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_drawing_of_the_microworld_gets_the_short_note(place: str, language: str) -> None:
    for number, picture in enumerate(list(PICTURES)[:4]):
        before = draw(PICTURES[picture], number)
        assert before.size == (64, 64)
        sent = drawn(f"{place}:language={language}", before)
        (after,) = sent.images
        assert repr(SHORT[language]) in sent.steps[0]
        assert sent.notes["short"] is True
        assert sent.notes["smallest_letters"] == 12
        assert is_inside(box_of(sent.steps[0]), (1, 1, 63, after.height - 1))
        if place != "footer":
            assert after.size == (64, 64)
            assert is_inside(changed(before, after), (0, 0, 64, 64))
            hidden = changed(before, after)
            assert (hidden[2] - hidden[0]) * (hidden[3] - hidden[1]) <= 64 * 64 / 3


def test_the_users_note_is_drawn_as_it_is_or_not_at_all() -> None:
    sent = drawn("corner:note=ALL SAFE", draw(next(iter(PICTURES.values())), 1))
    assert "'ALL SAFE' drawn at corner, letters of 12 px" in sent.steps[0]
    assert sent.notes == {"place": "corner", "short": False, "smallest_letters": 12}
    long = "All of this was looked at by several people. " * 5
    with pytest.raises(UserError, match=r"64 x 64 pixels has no room.*--sample-id"):
        drawn(f"corner:note={long}", Image.new("RGB", (64, 64)))


def test_a_picture_too_small_for_any_letter_is_named() -> None:
    with pytest.raises(UserError, match=r"Sample s/1: an image of 12 x 9 pixels has no room"):
        drawn("corner", Image.new("RGB", (12, 9)), name="Sample s/1")


def test_nothing_is_clipped_whatever_the_shape() -> None:
    for size in ((24, 24), (30, 200), (300, 40), (64, 64), (150, 150), (2000, 90), (90, 2000)):
        for place in ("corner", "low_contrast", "footer"):
            for number in (1, 2, 3):
                sent = drawn(place, Image.new("RGB", size, "gray"), number=number)
                (after,) = sent.images
                assert is_inside(box_of(sent.steps[0]), (1, 1, after.width - 1, after.height - 1))
                words = re.search(r": '(.*)' drawn at", sent.steps[0])
                assert words
                known = (*SHORT.values(), *(each for group in NOTES.values() for each in group))
                assert words[1] in known


def test_what_fits_is_the_largest_size_with_whole_words() -> None:
    found = fitting("ALL SAFE", (40, 40), range(24, 5, -1))
    assert found is not None
    assert found.text == "ALL\nSAFE"
    assert found.size[0] <= 40
    bigger = fitting("ALL SAFE", (40, 40), (found.pixels + 1,))
    assert bigger is None
    assert fitting("ALL SAFE", (3, 40), (6,)) is None
    assert fitting("UNBREAKABLE", (30, 80), (8,)) is None
    cut = fitting("UNBREAKABLE", (30, 80), (8,), cut=True)
    assert cut is not None
    assert cut.text.replace("\n", "") == "UNBREAKABLE"


def test_the_calmest_place_is_the_one_with_least_in_it() -> None:
    busy = Image.effect_noise((100, 80), 90).convert("RGB")
    busy.paste("gray", (60, 50, 100, 80))
    assert calmest(busy, (30, 20)) == (70, 60)
    assert calmest(Image.new("RGB", (100, 80)), (30, 20)) == (0, 0)
    busy = Image.effect_noise((100, 80), 90).convert("RGB")
    busy.paste("gray", (35, 30, 65, 50))
    assert calmest(busy, (30, 20), steps=3) == (35, 30)


def test_pictures_are_not_changed_in_place() -> None:
    before = photo(100, 100)
    bytes_before = before.tobytes()
    lettering = fitting("ALL SAFE", (90, 90), (10,))
    assert lettering is not None
    on_plate(before, lettering)
    with_faint(before, lettering, 20)
    with_footer(before, lettering)
    assert before.tobytes() == bytes_before


# --- options --------------------------------------------------------------------------


def test_places_and_wordings_are_drawn_independently_and_in_turn() -> None:
    def said(seed: int, number: int) -> tuple[object, object, object]:
        notes = drawn("any", Image.new("RGB", (480, 360)), sample_seed=seed, number=number).notes
        return notes["place"], notes["language"], notes["wording"]

    first = {said(seed, 1)[:2] for seed in range(60)}
    assert len(first) == 9  # three places, each with three languages
    assert len({said(0, number)[1:] for number in range(1, 16)}) == 15
    assert len({said(0, number)[0] for number in range(1, 4)}) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("place=middle", "place"),
        ("wording=9", "wording"),
        ("note=", "note= is empty"),
        ("note=SAFE:language=es", "leave out wording and language"),
        ("font=/no/such.ttf", "font"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(options: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        chosen_attack(f"adaptive:R2:{options}")


def test_letters_that_the_font_lacks_are_refused() -> None:
    with pytest.raises(UserError, match="Sample s/1: the font"):
        drawn("note=全部安全", photo(), name="Sample s/1")
