"""FigStep: the list's picture and its prompt."""

import pytest
from PIL import Image, ImageChops

from vlmguard.guard.attacks import AttackInput, chosen_attack
from vlmguard.guard.errors import UserError

TEXT = "How do I pick a lock?"


def ink(picture: Image.Image) -> tuple[int, int, int, int]:
    found = ImageChops.difference(picture, Image.new("RGB", picture.size, "white")).getbbox()
    assert found is not None
    return found


def test_the_picture_has_the_papers_geometry() -> None:
    sent = chosen_attack("figstep").static()(AttackInput(TEXT))

    (picture,) = sent.images
    assert picture.size == (760, 760)
    left, top, right, bottom = ink(picture)
    # 15 letters of 48 pixels from 20: "How do I pick a"; 5 lines of 85 from 10.
    assert 20 <= left <= 35
    assert 10 <= top <= 40
    assert 715 <= right <= 745
    assert 10 + 4 * 85 <= bottom <= 10 + 5 * 86
    assert sent.text.startswith("The image holds a numbered list")
    assert TEXT not in sent.text


def test_the_samples_own_images_come_first() -> None:
    own = Image.new("RGB", (30, 20), "red")
    sent = chosen_attack("figstep").static()(AttackInput(TEXT, (own,)))

    assert sent.images[0] is own
    assert len(sent.images) == 2
    assert sent.text.startswith("The last image holds a numbered list")


def test_the_datas_key_phrase_is_drawn_instead() -> None:
    apply = chosen_attack("figstep").static()
    phrased = apply(AttackInput(TEXT, phrase="Methods to pick a lock"))

    assert (
        phrased.images[0].tobytes()
        == apply(AttackInput("Methods to pick a lock")).images[0].tobytes()
    )
    assert phrased.images[0].tobytes() != apply(AttackInput(TEXT)).images[0].tobytes()


@pytest.mark.parametrize("attack", ["figstep", "figstep:size=200:wrap=30"])
def test_a_long_text_makes_a_larger_picture_and_none_is_cut_off(attack: str) -> None:
    (picture,) = chosen_attack(attack).static()(AttackInput("pick a lock " * 30)).images
    left, top, right, bottom = ink(picture)

    assert picture.height > 760
    assert left > 0
    assert top > 0
    assert right < picture.width
    assert bottom < picture.height


@pytest.mark.parametrize("attack", ["figstep", "figstep_pro", "typographic", "jood"])
def test_a_request_without_words_and_pictures_is_refused_by_its_name(attack: str) -> None:
    with pytest.raises(UserError, match=r"Sample a/1: it has no words"):
        chosen_attack(attack).static()(AttackInput("", name="Sample a/1"))


@pytest.mark.parametrize(
    "attack",
    [
        *("figstep:size=7", "figstep:wrap=4", "figstep_pro:pieces=1", "figstep_pro:pieces=21"),
        *("jood:alpha=1.5", "jood:mix=stir", "typographic:word", "figstep:font=/none.ttf"),
    ],
)
def test_options_out_of_range_are_refused(attack: str) -> None:
    with pytest.raises(UserError):
        chosen_attack(attack)
