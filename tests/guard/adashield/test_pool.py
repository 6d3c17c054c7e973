"""Reading a pool, its identity, and what is wrong with one."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.pools import ITEMS, write_pool
from support.scripted import picture

from vlmguard.guard.adashield.pool import read_pool, request_digest
from vlmguard.guard.errors import UserError


def test_items_are_named_by_id_or_line(tmp_path: Path) -> None:
    pool = read_pool(write_pool(tmp_path / "a", [ITEMS[0], {**ITEMS[1], "id": "figstep/x"}]))
    assert [item.id for item in pool.items] == ["line 1", "figstep/x"]
    assert [item.prompt for item in pool.items] == ["Mind weapons.", "Mind privacy."]
    assert pool.requests == frozenset()


def test_its_digest_follows_content_and_images(tmp_path: Path) -> None:
    changes = [{}, {"prompt": "Mind."}, {"query": "What?"}, {"scenario": "s"}, {"colour": "green"}]
    digests = [
        read_pool(write_pool(tmp_path / str(number), [{**ITEMS[0], **change}, ITEMS[1]])).digest
        for number, change in enumerate(changes)
    ]
    assert len(set(digests)) == len(changes)
    assert read_pool(write_pool(tmp_path / "again")).digest == digests[0]


def test_a_request_is_known_by_its_images_and_words() -> None:
    red, blue = picture("red"), picture("blue")
    assert request_digest([red], "How so?") == request_digest([red], " How  so?\n")
    others = [([red], "How?"), ([blue], "How so?"), ([red, blue], "How so?"), ([], "How so?")]
    assert len({request_digest(*each) for each in [*others, ([red], "How so?")]}) == 5


def _no_image(folder: Path) -> None:
    (folder / "images" / "1.png").unlink()


def _bad_image(folder: Path) -> None:
    (folder / "images" / "1.png").write_bytes(b"no image")


def _blank_prompt(folder: Path) -> None:
    file = folder / "pool.jsonl"
    first = file.read_text().splitlines()[0]
    file.write_text(first + "\n" + json.dumps({**json.loads(first), "prompt": " "}))


def _outside(folder: Path) -> None:
    file = folder / "pool.jsonl"
    first = json.loads(file.read_text().splitlines()[0])
    file.write_text(json.dumps({**first, "image": "../x.png"}))


def _empty(folder: Path) -> None:
    (folder / "pool.jsonl").write_text("")


def _foreign_provenance(folder: Path) -> None:
    (folder / "provenance.json").write_text('{"rows": 3}')


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_no_image, r"1\.png.*line 2"),
        (_bad_image, r"line 2: .*1\.png is no image"),
        (_blank_prompt, r"line 2: field 'prompt'"),
        (_outside, "leaves"),
        (_empty, "holds no records"),
        (_foreign_provenance, "not from `vlmguard pool`"),
    ],
)
def test_a_damaged_pool_is_refused(
    damage: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    file = write_pool(tmp_path / "pool")
    damage(file.parent)
    with pytest.raises(UserError, match=said):
        read_pool(file)
