"""ICC profiles made by hand (ICC.1:2001-04, a matrix and one gamma), for tests of colour."""

import struct

# Columns: the primaries' XYZ under D50.
SRGB = ((0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
DISPLAY_P3 = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
D50 = (0.9642, 1.0, 0.8249)


def rgb_profile(
    name: str, primaries: tuple[tuple[float, float, float], ...], gamma: float = 2.2
) -> bytes:
    """A profile of three primaries and one exponent."""
    curve = b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256))
    tags = {b"r": primaries[0], b"g": primaries[1], b"b": primaries[2]}
    found = {letter + b"XYZ": _xyz(colour) for letter, colour in tags.items()}
    found |= {letter + b"TRC": curve for letter in tags}
    return _profile(b"RGB ", name, found)


def grey_profile(name: str, gamma: float) -> bytes:
    """A profile for grey pictures."""
    return _profile(
        b"GRAY", name, {b"kTRC": b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256))}
    )


def _profile(space: bytes, name: str, tags: dict[bytes, bytes]) -> bytes:
    text = name.encode() + b"\0"
    described = b"desc" + struct.pack(">II", 0, len(text)) + text + bytes(78)
    tags = {b"desc": described, b"cprt": b"text" + bytes(4) + b"none\0", b"wtpt": _xyz(D50)} | tags
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for tag, data in tags.items():
        table += tag + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = start + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"none", 0x02400000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp")
    head += bytes(28) + struct.pack(">3i", *(round(each * 65536) for each in D50))
    return head.ljust(128, b"\0") + table + body


def _xyz(colour: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(each * 65536) for each in colour))
