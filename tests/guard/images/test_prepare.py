import base64
import hashlib
import io
import random
import warnings
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vlmguard.guard.images.decoding import MAX_PIXELS
from vlmguard.guard.images.prepare import (
    ImageError,
    PreparedImage,
    from_data_uri,
    prepare_image,
    to_data_uri,
)

BLUE = (30, 90, 200)
RED = (250, 10, 10)


def picture_of(prepared: PreparedImage) -> Image.Image:
    if prepared.reference.startswith("data:"):
        return from_data_uri(prepared.reference)
    return Image.open(prepared.reference).convert("RGB")


def corner(prepared: PreparedImage) -> Any:
    return picture_of(prepared).getpixel((0, 0))


def saved(folder: Path, name: str, image: Image.Image, **options: Any) -> Path:
    path = folder / name
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.png", "RGB"), ("a.jpg", "RGB"), ("A.JPEG", "RGB"), ("a.webp", "RGB"), ("a.png", "L")],
)
def test_a_plain_file_is_sent_as_it_is(tmp_path: Path, name: str, mode: str) -> None:
    path = saved(tmp_path, name, Image.new("RGB", (20, 10), BLUE).convert(mode))
    prepared = prepare_image(path)
    assert prepared.reference == str(path)
    assert prepared.notes == ()
    assert prepared.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    # It is not re-encoded in a data URI either.
    assert to_data_uri(path).split(",")[1] == base64.b64encode(path.read_bytes()).decode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "not a readable image"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 40, "not a readable image"),
        (b"GIF89a", "not a readable image"),
    ],
)
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "bad.png"
    if content is not None:
        path.write_bytes(content)
    for attempt in (prepare_image, to_data_uri):
        with pytest.raises(ImageError, match=rf"bad\.png: ({message})"):
            attempt(path)


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        prepare_image(tmp_path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp", "a.gif"])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str) -> None:
    noise = Image.frombytes("RGB", (64, 64), random.Random(0).randbytes(64 * 64 * 3))
    path = saved(tmp_path, name, noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match=r"a\.\w+: not a"):
        prepare_image(path)


def test_cmyk(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.jpg", Image.new("CMYK", (16, 16), (0, 255, 255, 0)), quality=95)
    prepared = prepare_image(path)
    assert prepared.notes == ("CMYK to RGB",)
    red, green, blue = corner(prepared)
    assert red > 240
    assert max(green, blue) < 30


def test_palette(tmp_path: Path) -> None:
    image = Image.new("P", (16, 16), 3)
    image.putpalette([0, 0, 0, 9, 9, 9, 8, 8, 8, *BLUE])
    prepared = prepare_image(saved(tmp_path, "a.png", image))
    assert prepared.notes == ("P to RGB",)
    assert corner(prepared) == BLUE


def test_a_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    image = Image.new("P", (16, 16), 1)
    image.putpalette([*RED, *BLUE])
    image.putpixel((1, 0), 0)
    prepared = prepare_image(saved(tmp_path, "a.png", image, transparency=1))
    assert corner(prepared) == (255, 255, 255)
    assert picture_of(prepared).getpixel((1, 0)) == RED


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGBA", (*RED, 0), (255, 255, 255)),
        ("RGBA", (*RED, 255), RED),
        ("RGBA", (0, 0, 0, 128), (127, 127, 127)),
        ("LA", (0, 0), (255, 255, 255)),
        ("LA", (40, 255), (40, 40, 40)),
    ],
)
def test_transparency_is_laid_on_white(
    tmp_path: Path, mode: str, colour: Any, expected: tuple[int, int, int]
) -> None:
    prepared = prepare_image(saved(tmp_path, "a.png", Image.new(mode, (16, 16), colour)))
    assert prepared.notes == (f"{mode} with transparency laid on white",)
    assert corner(prepared) == expected


def test_a_transparent_colour_of_an_rgb_file(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.png", Image.new("RGB", (16, 16), RED), transparency=RED)
    assert corner(prepare_image(path)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 0), (255, 0), (256, 1), (0x8000, 0x80), (0xFFFF, 255)]
)
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_scaled_not_clipped(
    tmp_path: Path, name: str, value: int, expected: int
) -> None:
    prepared = prepare_image(saved(tmp_path, name, Image.new("I;16", (16, 16), value)))
    assert prepared.notes == ("16 bit to 8 bit",)
    assert corner(prepared) == (expected,) * 3


def test_mode_i_is_read_as_sixteen_bits() -> None:
    assert from_data_uri(to_data_uri(Image.new("I", (4, 4), 0x8000))).getpixel((0, 0)) == (128,) * 3


@pytest.mark.parametrize(
    "image", [Image.new("I", (4, 4), 70_000), Image.new("I", (4, 4), -5), Image.new("F", (4, 4))]
)
def test_brightness_without_a_scale_is_refused(tmp_path: Path, image: Image.Image) -> None:
    path = saved(tmp_path, "a.tif", image)
    with pytest.raises(ImageError, match=r"a\.tif: .*convert it to 8 bit"):
        prepare_image(path)


def test_one_bit(tmp_path: Path) -> None:
    prepared = prepare_image(saved(tmp_path, "a.png", Image.new("1", (16, 16), 1)))
    assert prepared.notes == ("1 to RGB",)
    assert corner(prepared) == (255, 255, 255)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_the_first_frame_of_an_animation(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, BLUE, (0, 0, 0))]
    path = saved(tmp_path, name, frames[0], save_all=True, append_images=frames[1:], lossless=True)
    prepared = prepare_image(path)
    assert prepared.notes[0] == "first frame of an animation"
    assert prepared.reference.startswith("data:image/png;base64,")
    found = corner(prepared)
    assert all(abs(one - other) < 8 for one, other in zip(found, RED, strict=True))


def test_a_still_gif(tmp_path: Path) -> None:
    prepared = prepare_image(saved(tmp_path, "a.gif", Image.new("RGB", (16, 16), BLUE)))
    assert "first frame" not in " ".join(prepared.notes)
    assert corner(prepared) == BLUE


def test_a_multi_picture_jpeg_is_a_jpeg(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (16, 16), BLUE), Image.new("RGB", (8, 8), RED)
    path = saved(tmp_path, "a.jpg", first, format="MPO", save_all=True, append_images=[second])
    assert Image.open(path).format == "MPO"
    prepared = prepare_image(path)
    assert prepared.notes == ()
    assert prepared.reference == str(path)
    assert to_data_uri(path).startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize(
    ("kind", "name", "media"),
    [
        ("WEBP", "a.png", "image/webp"),
        ("PNG", "a.jpg", "image/png"),
        ("JPEG", "a", "image/jpeg"),
        ("JPEG", "a.jfif", "image/jpeg"),
    ],
)
def test_a_file_under_a_wrong_name(tmp_path: Path, kind: str, name: str, media: str) -> None:
    path = saved(tmp_path, name, Image.new("RGB", (16, 16), BLUE), format=kind)
    prepared = prepare_image(path)
    assert prepared.reference.startswith(f"data:{media};base64,")
    assert base64.b64decode(prepared.reference.split(",")[1]) == path.read_bytes()
    assert prepared.notes[0].startswith(f"{kind} named ")


@pytest.mark.parametrize("name", ["a.bmp", "a.tif", "a.ppm"])
def test_other_formats_become_png(tmp_path: Path, name: str) -> None:
    prepared = prepare_image(saved(tmp_path, name, Image.new("RGB", (16, 16), BLUE)))
    assert prepared.reference.startswith("data:image/png;base64,")
    assert corner(prepared) == BLUE


@pytest.mark.parametrize(("orientation", "where"), [(3, (7, 3)), (6, (3, 0)), (8, (0, 7))])
def test_a_tiff_which_pillow_turns_itself_is_turned_once(
    tmp_path: Path, orientation: int, where: tuple[int, int]
) -> None:
    image = Image.new("RGB", (8, 4), BLUE)
    image.putpixel((0, 0), RED)
    exif = Image.Exif()
    exif[0x0112] = orientation
    prepared = prepare_image(saved(tmp_path, "a.tif", image, exif=exif))
    assert picture_of(prepared).getpixel(where) == RED


@pytest.mark.parametrize(("orientation", "where"), [(3, (7, 3)), (6, (3, 0)), (8, (0, 7))])
def test_a_photo_is_turned_as_its_exif_data_says(
    tmp_path: Path, orientation: int, where: tuple[int, int]
) -> None:
    image = Image.new("RGB", (8, 4), BLUE)
    image.putpixel((0, 0), RED)
    exif = Image.Exif()
    exif[0x0112] = orientation
    prepared = prepare_image(saved(tmp_path, "a.png", image, exif=exif))
    assert prepared.notes == ("turned as its EXIF data says",)
    turned = picture_of(prepared)
    assert turned.getpixel(where) == RED
    # It is turned once, not again by the next reader.
    assert from_data_uri(to_data_uri(turned)).getpixel(where) == RED


def test_upright_and_broken_exif_data_change_nothing(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    image = Image.new("RGB", (8, 4), BLUE)
    assert prepare_image(saved(tmp_path, "a.jpg", image, exif=exif)).notes == ()
    broken = saved(tmp_path, "b.jpg", image, exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert prepare_image(broken).notes == ()


def test_fifty_megapixels_are_scaled_down(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.png", Image.new("RGB", (10_000, 5_000), BLUE))
    prepared = prepare_image(path)
    assert prepared.notes == ("10000x5000 scaled to 6324x3162", "as JPEG")
    picture = picture_of(prepared)
    width, height = picture.size
    assert MAX_PIXELS * 0.99 < width * height <= MAX_PIXELS
    assert width / height == pytest.approx(2, rel=1e-3)
    assert all(abs(a - b) < 6 for a, b in zip(corner(prepared), BLUE, strict=True))


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    # A file of some kilobytes that claims 400 megapixels.
    path = saved(tmp_path, "a.png", Image.new("1", (20_000, 20_000)))
    assert path.stat().st_size < 200_000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match=r"a\.png: .*decompression bomb"):
            prepare_image(path)


@pytest.mark.parametrize("mode", ["La", "RGBa", "LA", "RGBA", "PA", "P", "1", "L", "CMYK", "HSV"])
def test_pillow_pictures_of_any_mode(mode: str) -> None:
    picture = from_data_uri(to_data_uri(Image.new(mode, (4, 4))))
    assert (picture.mode, picture.size) == ("RGB", (4, 4))


def test_the_callers_picture_is_left_alone(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, BLUE)]
    path = saved(tmp_path, "a.gif", frames[0], save_all=True, append_images=frames[1:])
    with Image.open(path) as picture:
        picture.seek(1)
        # The caller's picture is still at the chosen frame.
        assert from_data_uri(to_data_uri(picture)).getpixel((0, 0)) == BLUE
        assert picture.tell() == 1
    transparent = Image.new("RGBA", (4, 4), (*RED, 100))
    to_data_uri(transparent)
    assert (transparent.mode, transparent.getpixel((0, 0))) == ("RGBA", (*RED, 100))


def test_a_truncated_picture_of_the_callers_is_an_image_error(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.jpg", Image.effect_noise((64, 64), 90).convert("RGB"))
    data = path.read_bytes()
    with pytest.raises(ImageError, match="picture: not a readable image"):
        to_data_uri(Image.open(io.BytesIO(data[: len(data) // 2])))


def test_addresses_and_other_strings() -> None:
    with pytest.raises(ImageError, match="not fetched"):
        to_data_uri("https://example.org/a.png")
    uri = to_data_uri(Image.new("RGB", (4, 4), BLUE))
    assert to_data_uri(uri) is uri
    for bad in ("data:image/png,abc", "abc", "data:image/png;base64,!!", "data:image/png;base64,"):
        with pytest.raises(ImageError, match="data URI"):
            from_data_uri(bad)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_damaged_files_raise_one_error(kind: str) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((40, 30), 60).convert("RGB").save(buffer, format=kind)
    chance = random.Random(kind)
    outcomes = set()
    for _ in range(150):
        data = bytearray(buffer.getvalue())
        for _ in range(chance.choice([1, 3, 20])):
            data[chance.randrange(chance.choice([60, len(data)]))] = chance.randrange(256)
        try:
            outcomes.add(to_data_uri(bytes(data))[:11])
        except ImageError:
            outcomes.add("error")
    assert outcomes == {"data:image/", "error"}


def test_preparing_a_plain_file_encodes_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, "a.png", Image.effect_noise((76, 76), 60).convert("RGB"))
    odd = saved(tmp_path, "a.bmp", Image.new("RGB", (8, 8), RED))

    encoded = []
    save = Image.Image.save

    def noted(image: Image.Image, *args: Any, **kwargs: Any) -> None:
        encoded.append(image)
        save(image, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "save", noted)
    assert prepare_image(path).reference == str(path)
    assert encoded == []
    assert prepare_image(odd).reference.startswith("data:")
    assert len(encoded) == 1
