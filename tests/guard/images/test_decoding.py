"""Which images are converted, refused by name, and bounded."""

import io
import random
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageCms
from support.icc import DISPLAY_P3, SRGB, grey_profile, rgb_profile
from support.wide_images import png, wide_png, wide_tiff

from vlmguard.guard.images.prepare import (
    MAX_BASE64,
    MAX_SIDE,
    ImageError,
    ImageRules,
    PreparedImage,
    from_data_uri,
    prepare_image,
    to_data_uri,
)

BLUE = (20, 40, 220)
SWAPPED = rgb_profile("Swapped", SRGB[::-1])
"""Its red is blue: a viewer shows blue where the numbers say red."""


def shown(prepared: PreparedImage) -> Image.Image:
    if prepared.reference.startswith("data:"):
        return from_data_uri(prepared.reference)
    return Image.open(prepared.reference).convert("RGB")


def colour_of(prepared: PreparedImage) -> tuple[int, ...]:
    pixel = shown(prepared).getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return pixel


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "notes"),
    [
        ("a.png", wide_png((0xC8FF, 0x1E00, 0x5A80)), ("16 bit to 8 bit",)),
        ("a.tif", wide_tiff((0xC8FF, 0x1E00, 0x5A80)), ("16 bit to 8 bit",)),
        (
            "a.png",
            wide_png((0xC8FF, 0x1E00, 0x5A80, 0xFFFF)),
            ("16 bit to 8 bit", "RGBA with transparency laid on white"),
        ),
    ],
)
def test_16_bit_colour_is_converted_and_noted(
    tmp_path: Path, name: str, content: bytes, notes: tuple[str, ...]
) -> None:
    prepared = prepare_image(written(tmp_path, name, content))
    assert prepared.notes == notes
    assert prepared.reference.startswith("data:image/png")
    assert colour_of(prepared) == (0xC8, 0x1E, 0x5A)


def test_a_profile_is_applied_so_that_the_model_sees_what_people_see(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 8), BLUE).save(path, icc_profile=SWAPPED)
    prepared = prepare_image(path)
    assert prepared.notes == ("colour profile Swapped to sRGB",)
    red, _, blue = colour_of(prepared)
    assert red > 200
    assert blue < 40
    # With `as_is`, as in the authors' code, the file itself is sent.
    as_is = prepare_image(path, ImageRules(colour="as_is"))
    assert (as_is.reference, as_is.notes) == (str(path), ())
    assert colour_of(as_is) == BLUE
    # An application's own picture is treated the same way, in any form.
    for form in (path, path.read_bytes(), Image.open(path)):
        assert from_data_uri(to_data_uri(form)).getpixel((0, 0)) == colour_of(prepared)


def test_colours_of_a_wide_profile_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    # (200, 30, 90) / 255 to the power of 2.2, through Display P3's primaries to XYZ, through the
    # inverse of sRGB's to linear (0.716, -0.015, 0.099), by the sRGB curve: 220.0, below 0, 88.5.
    path = tmp_path / "a.jpg"
    profile = rgb_profile("Display P3", DISPLAY_P3, 2.2)
    Image.new("RGB", (16, 16), (200, 30, 90)).save(path, quality=100, icc_profile=profile)
    pixel = colour_of(prepare_image(path))
    assert all(abs(got - want) <= 3 for got, want in zip(pixel, (220, 0, 89), strict=True))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_a_profile_that_is_srgb_leaves_the_bytes_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("RGB", (16, 16), BLUE).save(path, icc_profile=profile)
    assert prepare_image(path).reference == str(path)
    assert prepare_image(path).notes == ()


def test_grey_pictures_have_profiles_too(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("L", (8, 8), 64).save(path, icc_profile=grey_profile("Linear", 1.0))
    prepared = prepare_image(path)
    assert prepared.notes == ("colour profile Linear to sRGB",)
    # 64/255 is linear light; sRGB writes it as 1.055 x 0.251^(1/2.4) - 0.055 = 0.537.
    assert colour_of(prepared) == (137, 137, 137)


def test_transparent_pictures_keep_a_white_ground(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture = Image.new("RGBA", (8, 8), (*BLUE, 255))
    picture.putpixel((1, 0), (*BLUE, 0))
    picture.save(path, icc_profile=SWAPPED)
    prepared = prepare_image(path)
    assert prepared.notes == (
        "RGBA with transparency laid on white",
        "colour profile Swapped to sRGB",
    )
    assert colour_of(prepared)[0] > 200
    assert shown(prepared).getpixel((1, 0)) == (255, 255, 255)


@pytest.mark.parametrize("profile", [b"no profile", SWAPPED[:150], grey_profile("Grey", 2.2)])
def test_a_profile_that_is_none_is_noted_and_passed_over(tmp_path: Path, profile: bytes) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 8), BLUE).save(path, icc_profile=profile)
    prepared = prepare_image(path)
    assert prepared.notes == ("colour profile that cannot be read was ignored",)
    assert colour_of(prepared) == BLUE


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html><body>404</body></html>", "a web page"),
        (b"<html>404</html>", "a web page"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "render it as PNG"),
        (b"<?xml version='1.0'?>\n<svg/>", "render it as PNG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC photo"),
        (b"hello", "none of the known formats"),
    ],
)
def test_what_people_take_for_pictures_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = written(tmp_path, "a.png", content)
    for attempt in (prepare_image, to_data_uri):
        with pytest.raises(ImageError, match=rf"a\.png: .*{words}"):
            attempt(path)


def test_what_apis_refuse_is_sent_as_it_is_or_scaled_on_demand(tmp_path: Path) -> None:
    long = tmp_path / "long.png"
    Image.new("RGB", (10_000, 100), BLUE).save(long)
    assert prepare_image(long).reference == str(long)
    fitted = prepare_image(long, ImageRules(fit=True))
    assert fitted.notes == ("10000x100 scaled to 8000x80",)
    assert shown(fitted).size == (MAX_SIDE, 80)

    heavy = tmp_path / "heavy.png"
    Image.frombytes("RGB", (1500, 1500), random.Random(0).randbytes(1500 * 1500 * 3)).save(heavy)
    assert prepare_image(heavy).notes == ()
    fitted = prepare_image(heavy, ImageRules(fit=True))
    assert len(fitted.reference) <= MAX_BASE64
    assert fitted.notes[0].endswith("bytes of base64 as JPEG")

    small = tmp_path / "small.png"
    Image.new("RGB", (100, 100), BLUE).save(small)
    assert prepare_image(small, ImageRules(fit=True)).reference == str(small)


def test_a_huge_drawing_takes_bounded_memory(tmp_path: Path) -> None:
    side = 13_000
    row = b"\0" + bytes((side + 7) // 8)
    path = written(tmp_path, "a.png", png(side, side, 1, 0, row * side))
    script = (
        "import resource, sys; from pathlib import Path;"
        "from vlmguard.guard.images.prepare import *;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "print(*prepare_image(Path(sys.argv[1])).notes);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    notes, kilobytes = done.stdout.splitlines()
    assert "13000x13000 scaled to 4472x4472" in notes
    # 169 MB are the decoded pixels themselves.
    assert int(kilobytes) < 450_000


def test_a_large_photo_is_the_same_however_it_is_reduced(tmp_path: Path) -> None:
    gradient = Image.linear_gradient("L").resize((9_500, 9_500)).convert("P")
    buffer = io.BytesIO()
    gradient.save(buffer, "PNG")
    prepared = prepare_image(written(tmp_path, "a.png", buffer.getvalue()))
    assert "9500x9500 scaled to 4472x4472" in prepared.notes
    picture = shown(prepared).convert("L")
    for y in (50, 2_236, 4_400):
        assert abs(picture.getpixel((2_000, y)) - 255 * y / 4_472) < 4


def test_a_large_picture_that_is_converted_says_that_it_became_a_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "a.bmp"
    Image.new("RGB", (2_500, 2_000), BLUE).save(path)
    assert prepare_image(path).notes == ("BMP to JPEG",)
    Image.new("L", (2_500, 2_000), 9).convert("P").save(tmp_path / "a.png")
    assert prepare_image(tmp_path / "a.png").notes == ("P to RGB", "as JPEG")
