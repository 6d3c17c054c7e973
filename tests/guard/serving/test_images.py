"""What a client may give as an image, and what it is told if not."""

import base64
import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.picture_server import Reply, picture_server
from support.scripted import picture

from vlmguard.guard.images.prepare import from_data_uri
from vlmguard.guard.serving.faults import Fault
from vlmguard.guard.serving.images import (
    ImagePolicy,
    ImageReference,
    checked_images,
)

SECRET = "c2VjcmV0"


def references(*values: str) -> list[ImageReference]:
    return [ImageReference(each, n + 1, f"messages.{n}.content.1") for n, each in enumerate(values)]


def uri(content: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def file_of(kind: str, size: tuple[int, int] = (3, 2)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, format=kind)
    return buffer.getvalue()


def png_bomb(width: int, height: int, text: int = 0) -> bytes:
    """A PNG file of a few bytes, whose header promises a picture of that size, or a long text."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100_000))
    end = chunk(b"IEND", b"")
    words = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(text))) if text else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + words + chunk(b"IDAT", pixels) + end


DEFAULT = ImagePolicy()


async def refused(*values: str, policy: ImagePolicy = DEFAULT) -> Fault:
    with pytest.raises(Fault) as caught:
        await checked_images(references(*values), policy, None)
    assert SECRET not in caught.value.message
    return caught.value


async def test_data_uris_pass_as_they_are() -> None:
    given = [picture("red"), picture("blue"), picture("red")]
    checked = await checked_images(references(*given), ImagePolicy(), None)
    assert all(after is before for after, before in zip(checked, given, strict=True))
    assert await checked_images([], ImagePolicy(), None) == []


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP"])
async def test_pictures_of_each_format(kind: str) -> None:
    given = uri(file_of(kind), kind.lower())
    assert await checked_images(references(given), ImagePolicy(), None) == [given]


OTHERS = [
    "",
    " ",
    "/etc/passwd",
    "etc/passwd",
    "../picture.png",
    "~/picture.png",
    "C:\\picture.png",
    "\\\\host\\share\\picture.png",
    "//host/picture.png",
    "file:///etc/passwd",
    "file:/etc/passwd",
    "http://pictures.test/a.png",
    "ftp://pictures.test/a.png",
    "blob:https://pictures.test/1",
    "gs://bucket/a.png",
    "s3://bucket/a.png",
    "HTTPS://pictures.test/a.png",
    "HtTpS://pictures.test/a.png",
    "https:/pictures.test/a.png",
    "https:pictures.test",
    " https://pictures.test/a.png",
    "\thttps://pictures.test/a.png",
    "\u200bhttps://pictures.test/a.png",
    "\0https://pictures.test/a.png",
    "javascript:alert(1)",
    "DATA:image/png;base64," + SECRET,
    "Data:image/png;base64," + SECRET,
    " data:image/png;base64," + SECRET,
    "data: image/png;base64," + SECRET,
    "data:image/png;charset=x;base64," + SECRET,
    "data:image/png," + SECRET,
    "data:image/png;base64" + SECRET,
    "data:image/;base64," + SECRET,
    "data:;base64," + SECRET,
    "data:," + SECRET,
    "data:text/html;base64," + SECRET,
    "data:application/pdf;base64," + SECRET,
    "data:image/png\n;base64," + SECRET,
    SECRET,
]


@pytest.mark.parametrize("value", OTHERS)
async def test_anything_else_is_refused_with_its_place_and_not_its_content(value: str) -> None:
    error = await refused(picture(), value)
    assert (error.code, error.status) == ("image_scheme", 400)
    assert error.param == "messages.1.content.1"
    assert error.message.startswith("Image 2, at messages.1.content.1: ")
    assert value not in error.message or not value.strip()


async def test_a_file_of_the_server_is_never_opened(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(file_of("PNG"))
    for value in (str(file), f"file://{file}", file.as_uri(), file.name):
        assert (await refused(value)).code == "image_scheme"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
async def test_no_text_passes_but_a_picture(value: str) -> None:
    with pytest.raises(Fault):
        await checked_images(references(value), ImagePolicy(), None)
    with pytest.raises(Fault):
        await checked_images(references("data:image/png;base64," + value), ImagePolicy(), None)


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "=",
        SECRET[:-1],
        SECRET + "\n" + SECRET,
        SECRET + "%3D",
        "_-" * 8,
        "\ud800",
        "ａｂｃｄ",
        SECRET,
        base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>").decode(),
        base64.b64encode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n").decode(),
        base64.b64encode(file_of("TIFF")).decode(),
        base64.b64encode(file_of("PNG")[:20]).decode(),
        base64.b64encode(b"\x89PNG\r\n\x1a\n").decode(),
        base64.b64encode(png_bomb(0, 10)).decode(),
        base64.b64encode(png_bomb(10, 10, text=50_000_000)).decode(),
    ],
)
async def test_what_cannot_be_read_is_refused(payload: str) -> None:
    error = await refused("data:image/png;base64," + payload)
    assert (error.code, error.status) == ("invalid_image", 400)


async def test_bytes_are_counted_to_the_byte() -> None:
    content = file_of("PNG")
    exact = ImagePolicy(max_bytes=len(content))
    assert len(await checked_images(references(uri(content)), exact, None)) == 1
    error = await refused(uri(content), policy=ImagePolicy(max_bytes=len(content) - 1))
    assert (error.code, error.status) == ("image_too_large", 413)


async def test_far_too_many_bytes_are_not_decoded() -> None:
    """The limit is told before anybody sees that this is no base64."""
    error = await refused(uri(b"") + "!" * 2_000_000, policy=ImagePolicy(max_bytes=1_000))
    assert error.code == "image_too_large"


async def test_images_are_counted_over_the_whole_request() -> None:
    nine = [picture()] * 9
    error = await refused(*nine)
    assert (error.code, error.status, error.param) == ("too_many_images", 413, None)
    assert len(await checked_images(references(*nine), ImagePolicy(count=9), None)) == 9


@pytest.mark.parametrize("size", [(6_326, 6_326), (20_000, 20_000), (65_535, 65_535)])
@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "JPEG", "WEBP"])
async def test_a_bomb_is_refused_by_its_header(
    size: tuple[int, int], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = uri(_promising(kind, *size))
    monkeypatch.setattr(Image.Image, "load", _never)
    error = await refused(given)
    assert (error.code, error.status) == ("image_too_large", 413)


async def test_pixels_are_counted_to_the_pixel() -> None:
    content = file_of("PNG", (30, 10))
    assert await checked_images(references(uri(content)), ImagePolicy(max_pixels=300), None)
    assert (await refused(uri(content), policy=ImagePolicy(max_pixels=299))).status == 413


def _never(*_: object) -> None:
    raise AssertionError("a pixel was decoded")


def _promising(kind: str, width: int, height: int) -> bytes:
    """A small file whose header promises a picture of that size."""
    if kind == "PNG":
        return png_bomb(width, height)
    content = bytearray(file_of(kind, (16, 16)))
    if kind == "GIF":
        content[6:10] = struct.pack("<HH", width, height)
    elif kind == "BMP":
        content[18:26] = struct.pack("<ii", width, height)
    elif kind == "JPEG":
        start = content.index(b"\xff\xc0") + 5
        content[start : start + 4] = struct.pack(">HH", height, width)
    else:
        # A canvas of up to 16,384 pixels a side, in the extended header that comes first.
        side = min(width, 16_000) - 1
        extended = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + 2 * struct.pack("<I", side)[:3]
        animation = b"ANIM" + struct.pack("<I", 6) + bytes(6)
        frame_data = bytes(content[12:])
        frame = bytes(6) + 2 * struct.pack("<I", 15)[:3] + bytes(4) + frame_data
        frames = b"ANMF" + struct.pack("<I", len(frame)) + frame
        body = b"WEBP" + extended + animation + frames
        content = bytearray(b"RIFF" + struct.pack("<I", len(body)) + body)
    return bytes(content)


async def test_a_link_is_not_fetched_unless_allowed() -> None:
    error = await refused("https://pictures.test/a.png")
    assert (error.code, error.status) == ("remote_image", 400)


async def test_linked_pictures_become_data_uris_in_their_places() -> None:
    replies = {"/a": Reply(content=file_of("JPEG")), "/b": Reply(content=file_of("PNG", (5, 5)))}
    a, b = "https://pictures.test/a", "https://pictures.test/b"
    with picture_server(replies) as server:
        given = references(a, picture(), b, a)
        checked = await checked_images(given, ImagePolicy(), server.fetcher())
    assert [from_data_uri(each).size for each in checked] == [(3, 2), (24, 24), (5, 5), (3, 2)]
    assert checked[0].startswith("data:image/jpeg;base64,")
    assert sorted(server.paths) == ["/a", "/b"]


@pytest.mark.parametrize(
    ("path", "code", "status"),
    [
        ("/page", "invalid_image", 400),
        ("/bomb", "image_too_large", 413),
        ("/long", "image_too_large", 413),
        ("/none", "image_not_fetched", 400),
    ],
)
async def test_linked_pictures_have_the_same_limits(path: str, code: str, status: int) -> None:
    replies = {
        "/page": Reply(content=b"<html>no picture</html>", headers={"Content-Type": "image/png"}),
        "/bomb": Reply(content=png_bomb(20_000, 20_000)),
        "/long": Reply(content=b"x" * 65_536, repeat=100),
    }
    given = references(picture(), f"https://pictures.test{path}?{SECRET}", "https://x/y")
    with picture_server(replies) as server, pytest.raises(Fault) as caught:
        await checked_images(given, ImagePolicy(), server.fetcher())
    assert (caught.value.code, caught.value.status) == (code, status)
    assert caught.value.param == "messages.1.content.1"
    assert SECRET not in caught.value.message
    assert "pictures.test" not in caught.value.message


async def test_a_host_that_was_not_named_is_told_as_such() -> None:
    with picture_server({}) as server:
        fetcher = server.fetcher(hosts=frozenset({"other.test"}))
    with pytest.raises(Fault) as caught:
        await checked_images(references("https://pictures.test/a"), ImagePolicy(), fetcher)
    assert caught.value.code == "remote_image"


async def test_nothing_is_fetched_for_a_request_that_is_refused_anyway() -> None:
    with picture_server({"/a": Reply(content=file_of("PNG"))}) as server:
        for other in ("/etc/passwd", "data:image/png;base64,x"):
            given = references("https://pictures.test/a", other)
            with pytest.raises(Fault):
                await checked_images(given, ImagePolicy(), server.fetcher())
    assert server.asked == []
