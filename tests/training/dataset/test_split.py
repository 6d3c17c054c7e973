"""Images that count as the same are in one group, however many there are."""

import random
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from support.all_pairs import groups_by_pairs, look_alike

from vlmguard.training.dataset.fingerprints import Fingerprint, ImageIndex
from vlmguard.training.dataset.kept_rows import KeptRows
from vlmguard.training.dataset.split import image_groups, split_by_image


def look(drawn: random.Random, like: Fingerprint | None = None, bits: int = 0) -> Fingerprint:
    """A look, or one like another in all but some bits."""
    if like is None:
        return Fingerprint(drawn.randbytes(32), drawn.randbytes(48))
    changed = int.from_bytes(like.bits)
    for place in drawn.sample(range(256), bits):
        changed ^= 1 << place
    return Fingerprint(changed.to_bytes(32), like.colours)


@pytest.mark.parametrize("kind", ["photos", "writing"])
def test_the_index_finds_what_a_comparison_of_each_with_each_finds(kind: str) -> None:
    drawn = random.Random(kind)
    flat = Fingerprint(bytes(32), bytes(48))

    def new() -> Fingerprint:
        # Writing on white: nearly all bits are those of a flat picture.
        return look(drawn) if kind == "photos" else look(drawn, flat, drawn.randint(0, 30))

    looks = [new() for _ in range(3000)]
    index = ImageIndex(looks)
    for each in drawn.sample(looks, 8):
        for bits in (0, 11, 12, 13):
            asked = look(drawn, each, bits)
            expected = [place for place, one in enumerate(looks) if look_alike(asked, one)]
            assert index.near(asked) == expected


def stored(folder: Path, shown: list[tuple[str, Fingerprint]]) -> KeptRows:
    rows = KeptRows(folder)
    for number, (name, each) in enumerate(shown):
        sha256 = each.bits.hex() + each.colours.hex()
        image = rows.image(sha256[:200]) or rows.add_image(sha256[:200], b"x", each)
        text = dict.fromkeys(
            ("source", "original", "rewritten", "reasoning", "reasoner", "templates"), "x"
        )
        columns = {"id": f"{number:05}", "image_id": name, "benign": False, **text}
        rows.add(columns, image, None, False)
    rows.sort()
    return rows


def test_groups_are_those_of_all_pairs(tmp_path: Path) -> None:
    drawn = random.Random(5)
    shown: list[tuple[str, Fingerprint]] = []
    for number in range(120):
        like = drawn.choice(shown)[1] if shown and drawn.random() < 0.5 else None
        each = look(drawn, like, drawn.choice([0, 5, 12, 13, 40]))
        shown.append((f"i{drawn.randrange(200) if drawn.random() < 0.5 else number}", each))
    with closing(stored(tmp_path, shown)) as rows:
        groups = [int(each) for each in image_groups(rows)]
        assert groups == groups_by_pairs(shown)
        assert 20 < len(set(groups)) < 100
        sizes = split_by_image(rows, 0.3, seed=1)
        parts = [{row.columns["id"] for row in rows.part(held)} for held in (False, True)]
    assert [len(part) for part in parts] == [sizes["train"], sizes["validation"]]
    sides = [{groups[int(each)] for each in part} for part in parts]
    assert sides[0].isdisjoint(sides[1])
    assert sizes["train"] + sizes["validation"] == 120


def test_looks_that_end_in_zeros_are_told_apart(tmp_path: Path) -> None:
    blank = Fingerprint(bytes(32), bytes(48))
    dark = Fingerprint(b"\xff" * 32, bytes(48))
    with closing(stored(tmp_path, [("a", blank), ("b", dark), ("c", blank)])) as rows:
        assert np.array_equal(image_groups(rows), [0, 1, 0])
