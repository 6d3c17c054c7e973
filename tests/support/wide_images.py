"""Files with 16 bits a channel, written by hand: Pillow can read but not write them."""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png(width: int, height: int, bits: int, kind: int, rows: bytes) -> bytes:
    """A PNG file; `rows` holds each row after its filter byte."""
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return (
        SIGNATURE
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows, 9))
        + chunk(b"IEND", b"")
    )


def wide_png(pixel: tuple[int, ...], size: int = 8) -> bytes:
    """A PNG file of one colour, 3 (RGB) or 4 (RGBA) channels of 16 bits."""
    row = b"\0" + struct.pack(f">{len(pixel)}H", *pixel) * size
    return png(size, size, 16, {3: 2, 4: 6}[len(pixel)], row * size)


def wide_tiff(pixel: tuple[int, int, int], size: int = 8) -> bytes:
    """An RGB TIFF file of one colour with 16 bits a channel, not compressed."""
    pixels = struct.pack("<3H", *pixel) * size * size
    start = 8 + 2 + 12 * 9 + 4
    entries = [
        (256, 3, 1, size),
        (257, 3, 1, size),
        (258, 3, 3, start),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, start + 6),
        (277, 3, 1, 3),
        (278, 3, 1, size),
        (279, 4, 1, len(pixels)),
    ]
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + struct.pack("<I", 0)
    return head + struct.pack("<3H", 16, 16, 16) + pixels
