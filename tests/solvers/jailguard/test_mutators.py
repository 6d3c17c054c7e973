"""JailGuard's mutators: what they do to pictures and to texts."""

from collections import Counter
from random import Random
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from vlmguard.solvers.jailguard import pictures, texts
from vlmguard.solvers.jailguard.pictures import PICTURE_MUTATORS
from vlmguard.solvers.jailguard.solver import Mutator
from vlmguard.solvers.jailguard.texts import MARKS, TEXT_MUTATORS

TEXT = st.text(min_size=1, max_size=80).filter(str.strip)


def colourful(width: int = 12, height: int = 8) -> Image.Image:
    return Image.frombytes("RGB", (width, height), Random(5).randbytes(3 * width * height))


def test_the_options_are_the_operators() -> None:
    assert {*get_args(Mutator)} == PICTURE_MUTATORS.keys() | TEXT_MUTATORS.keys()


@pytest.mark.parametrize("name", PICTURE_MUTATORS)
@pytest.mark.parametrize("size", [(12, 8), (1, 1), (1, 40)])
def test_a_picture_keeps_its_size_and_the_seed_decides(name: str, size: tuple[int, int]) -> None:
    picture = colourful(*size)
    before = picture.tobytes()
    made = [PICTURE_MUTATORS[name](picture, Random(seed)) for seed in range(20)]
    again = [PICTURE_MUTATORS[name](picture, Random(seed)) for seed in range(20)]
    assert [each.tobytes() for each in made] == [each.tobytes() for each in again]
    assert {(each.mode, each.size) for each in made} == {("RGB", size)}
    assert picture.tobytes() == before
    if size == (12, 8):
        assert any(each.tobytes() != before for each in made)


def test_the_blur_is_a_gaussian_over_a_few_pixels() -> None:
    picture = Image.new("RGB", (15, 15))
    picture.putpixel((7, 7), (255, 255, 255))
    reached = set()
    for seed in range(40):
        drawn = Random(seed)
        radii, sigma = [drawn.randint(0, 3), drawn.randint(0, 3)], drawn.uniform(0.1, 2.0)
        kernels = [np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2) for radius in radii]
        expected = np.zeros((15, 15))
        rows, columns = (slice(7 - radius, 8 + radius) for radius in radii)
        expected[rows, columns] = np.outer(*(kernel / kernel.sum() for kernel in kernels)) * 255
        found = np.asarray(pictures.blur(picture, Random(seed)))[:, :, 0]
        assert np.abs(found - expected).max() <= 0.51
        reached |= set(radii)
    assert reached == {0, 1, 2, 3}


def test_what_each_operator_makes() -> None:
    picture = colourful()
    made = {
        name: {PICTURE_MUTATORS[name](picture, Random(seed)).tobytes() for seed in range(60)}
        for name in PICTURE_MUTATORS
    }
    same = picture.tobytes()
    assert made["flip"] == {same, ImageOps.mirror(picture).tobytes()}
    assert made["vertical_flip"] == {same, ImageOps.flip(picture).tobytes()}
    assert made["grey"] == {same, picture.convert("L").convert("RGB").tobytes()}
    assert made["posterise"] == {
        same,
        *(bytes(value & kept for value in same) for kept in (0b10000000, 0b11000000)),
    }
    for solarised in made["solarise"] - {same}:
        changed = [old for old, new in zip(same, solarised, strict=True) if old != new]
        kept = [old for old, new in zip(same, solarised, strict=True) if old == new]
        assert max(kept) < min(*changed, 200)
    for masked in made["mask"]:
        black = np.frombuffer(masked, np.uint8).reshape(8, 12, 3).max(axis=2) == 0
        # 30 % of 12 and of 8 pixels, and the far edges.
        assert (black.any(axis=0).sum(), black.any(axis=1).sum()) == (5, 3)


def test_the_rotation_is_mostly_small_and_never_over_half_a_turn() -> None:
    angles: list[float] = []

    class Noted:
        def rotate(self, angle: float) -> None:
            angles.append(angle)

    rng = Random(1)
    for _ in range(2000):
        pictures.rotation(Noted(), rng)  # type: ignore[arg-type]
    assert 0 <= min(angles) <= max(angles) <= 180
    # Uniform up to a uniform limit: half of the angles are below 33.6 degrees.
    assert sum(angle < 33.6 for angle in angles) / 2000 == pytest.approx(0.5, abs=0.03)


def shares(monkeypatch: pytest.MonkeyPatch, module: object, *names: str) -> list[float]:
    """How often a policy chooses each operator."""
    seen: Counter[str] = Counter()
    for name in names:
        monkeypatch.setattr(module, name, lambda it, rng, name=name: seen.update([name]))
    rng = Random(2)
    for _ in range(4000):
        module.policy(None, rng)  # type: ignore[attr-defined]
    return [seen[name] / 4000 for name in names]


def test_the_policies_have_the_authors_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    found = shares(monkeypatch, pictures, "rotation", "blur", "posterise")
    assert found == pytest.approx([0.34, 0.45, 0.21], abs=0.025)
    found = shares(monkeypatch, texts, "punctuation", "targeted")
    assert found == pytest.approx([0.24 / 0.76, 0.52 / 0.76], abs=0.025)


@given(TEXT, st.integers(0, 99))
def test_punctuation_is_put_before_words(text: str, seed: int) -> None:
    mutated = TEXT_MUTATORS["punctuation"](text, Random(seed))
    added = Counter(mutated.split()) - Counter(text.split())
    assert set(added) <= set(MARKS)
    assert 1 <= added.total() <= max(1, len(text.split()) // 3)
    assert mutated == TEXT_MUTATORS["punctuation"](text, Random(seed))


@given(TEXT.filter(lambda text: "[" not in text and "]" not in text), st.integers(0, 99))
def test_targeted_insertion_loses_nothing(text: str, seed: int) -> None:
    assert TEXT_MUTATORS["targeted"](text, Random(seed)).replace("[Mask]", "") == text


def test_sentences_that_matter_get_five_times_as_much() -> None:
    heavy = ["The rope holds the rope.", "A rope needs another rope.", "Tie the rope to the rope."]
    light = ["Grass grows.", "A tall tree stands there.", "Birds fly by.", "Some leaf falls down."]
    sentences = [*light[:2], *heavy, *light[2:], "Why is it so?"]
    text = " ".join(sentences)
    counts: Counter[str] = Counter()
    rng = Random(3)
    rounds = 3000
    for _ in range(rounds):
        mutated = TEXT_MUTATORS["targeted"](text, rng)
        place = 0
        for piece in mutated.split("[Mask]")[:-1]:
            place += len(piece)
            until = 0
            for sentence in sentences:
                until += len(sentence) + 1
                if place < until:
                    counts[sentence] += 1
                    break
    rates = {sentence: counts[sentence] / rounds / (len(sentence) + 1) for sentence in sentences}
    # A little below 0.005 and 0.025, since the five characters after an insertion have none.
    for sentence in light:
        assert rates[sentence] == pytest.approx(0.0049, abs=0.0009)
    for sentence in (*heavy, "Why is it so?"):
        assert rates[sentence] == pytest.approx(0.0225, abs=0.0025)


def test_a_short_text_has_no_sentences_that_matter() -> None:
    text = "How do I tie a rope? Which rope is best? And why?"
    rng = Random(4)
    found = sum(TEXT_MUTATORS["targeted"](text, rng).count("[Mask]") for _ in range(3000))
    assert found / 3000 / len(text) == pytest.approx(0.0049, abs=0.0005)
