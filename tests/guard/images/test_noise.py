"""Noise on pictures: how much, and that it comes back."""

import numpy as np
import pytest
from PIL import Image

from vlmguard.guard.images.altering import altered
from vlmguard.guard.images.noise import Noise, noise
from vlmguard.guard.images.prepare import to_data_uri

GREY = Image.new("RGB", (200, 150), (120, 130, 140))


def test_a_mask_blackens_its_share_of_whole_pixels() -> None:
    pixels = np.array(noise("mask", 0.2, "s/1")(GREY))
    black = (pixels == 0).all(axis=2)
    assert black.mean() == pytest.approx(0.2, abs=0.02)
    assert (pixels[~black] == (120, 130, 140)).all()


def test_gaussian_noise_has_its_deviation_for_each_colour() -> None:
    pixels = np.array(noise("gaussian", 0.1, "s/1")(GREY)).astype(float)
    shifts = pixels - (120, 130, 140)
    assert shifts.std() / 255 == pytest.approx(0.1, rel=0.05)
    assert abs(shifts.mean()) < 1
    red, green, _ = shifts.reshape(-1, 3).T
    assert abs(np.corrcoef(red, green)[0, 1]) < 0.05


def test_what_leaves_the_range_is_cut() -> None:
    pixels = np.array(noise("gaussian", 0.5, "s/1")(Image.new("RGB", (60, 60), "white")))
    assert 0.4 < (pixels == 255).mean() < 0.6
    assert pixels.min() < 100


@pytest.mark.parametrize("kind", ["mask", "gaussian"])
def test_without_strength_a_picture_stays_as_it_is(kind: Noise) -> None:
    assert noise(kind, 0.0, "s/1")(GREY).tobytes() == GREY.tobytes()
    assert noise("mask", 1.0, "s/1")(GREY).getextrema() == ((0, 0), (0, 0), (0, 0))


@pytest.mark.parametrize("kind", ["mask", "gaussian"])
async def test_the_same_seed_gives_the_same_bytes(kind: Noise) -> None:
    uri = to_data_uri(GREY)
    once = await altered([uri, uri], noise(kind, 0.1, "s/1"))
    assert once == await altered([uri, uri], noise(kind, 0.1, "s/1"))
    # Pictures of one copy differ, and so do copies.
    assert len({*once, *await altered([uri, uri], noise(kind, 0.1, "s/2"))}) == 4
