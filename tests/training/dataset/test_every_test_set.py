"""Each benchmark with files is a test set by its card: rows that it holds may not be trained on."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from inspect_ai.dataset import Sample
from PIL import Image
from support.benchmark_folders.every import EVERY

from vlmguard.guard.cards import cards
from vlmguard.guard.data_source import MissingFile, local
from vlmguard.guard.files import read_csv
from vlmguard.guard.messages import images_of
from vlmguard.training.dataset.items import Item, with_images
from vlmguard.training.dataset.leaks import find_leaks
from vlmguard.training.dataset.testsets import load_test_sets


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def samples_of(name: str, folder: Path) -> list[Sample]:
    """The samples of all variants that the folder holds."""
    card = cards().benchmarks[name]
    source, found = local(card, folder, partial=True), []
    for variant in card.variants:
        try:
            found += card.load(source, variant)
        except MissingFile:
            continue
    return found


def values(content: Any) -> list[str]:
    """All texts of a file's content."""
    if isinstance(content, dict):
        return [text for each in content.values() for text in values(each)]
    if isinstance(content, list):
        return [text for each in content for text in values(each)]
    return [content] if isinstance(content, str) else []


def texts_in(folder: Path) -> list[str]:
    """All texts of the files with records."""
    found: list[str] = []
    for file in folder.rglob("*"):
        if file.suffix == ".csv":
            found += values([row for _, row in read_csv(file)[1]])
        elif file.suffix == ".parquet":
            found += values(pq.read_table(file).to_pylist())
        elif file.suffix == ".jsonl":
            found += values([json.loads(line) for line in file.read_text().splitlines()])
        elif file.suffix == ".json":
            text = file.read_text()
            lines = text.splitlines() if text.startswith("{") and "}\n{" in text else [text]
            found += values([json.loads(line) for line in lines])
    return found


@pytest.mark.parametrize("name", sorted(EVERY))
def test_each_picture_and_request_of_each_set_blocks_training(name: str, tmp_path: Path) -> None:
    folder = EVERY[name][0](tmp_path / "sets" / name)
    items = load_test_sets(tmp_path / "sets", [], set())[0][name]
    samples = samples_of(name, folder)
    known = {(item.id, item.image) for item in items}
    # Of several pictures each is an item.
    for sample in samples:
        for image in images_of(sample.input) or [None]:
            assert (str(sample.id), Path(image) if image else None) in known, sample.id
    report = find_leaks([], {name: items})
    assert report.checked[name]["images"] == len({(i.id, i.image_id) for i in items if i.image})

    Image.linear_gradient("L").save(tmp_path / "clean.png")
    rows, expected = [Item("clean", "own/clean.png", "Is it new?", tmp_path / "clean.png")], {}
    for number, item in enumerate(each for each in items if each.image):
        assert item.image
        copy = tmp_path / f"{number}.png"
        copy.write_bytes(item.image.read_bytes())
        rows.append(Item(f"named {number}", item.image_id, "Something else?"))
        rows.append(Item(f"copied {number}", f"own/{number}.png", "Something else?", copy))
        expected |= {f"named {number}": {"image_name"}}
        expected |= {f"copied {number}": {"image_bytes"}}
        if item.text:
            rows.append(Item(f"asked {number}", f"own/{number}.png", f" {item.text.upper()}", copy))
            expected |= {f"asked {number}": {"pair"}}
    found = find_leaks(with_images(rows), {name: items})
    assert {leak.row: {leak.kind} for leak in found.blocking} == expected
    assert found.reported == []


@pytest.mark.parametrize("name", sorted(EVERY))
def test_requests_are_compared_as_the_authors_files_have_them(name: str, tmp_path: Path) -> None:
    folder = EVERY[name][0](tmp_path / "sets" / name)
    items = load_test_sets(tmp_path / "sets", [], set())[0][name]
    there = set(texts_in(folder))
    assert [item.text for item in items if item.text and item.text not in there] == []


@pytest.mark.parametrize("name", sorted(EVERY))
def test_without_pictures_a_set_is_still_known_by_names_and_texts(
    name: str, tmp_path: Path
) -> None:
    folder = EVERY[name][0](tmp_path / "sets" / name)
    if any(folder.rglob("*.parquet")):
        pytest.skip("pictures are in the file with the texts")
    before = load_test_sets(tmp_path / "sets", [], set())[0][name]
    for suffix in (".png", ".jpg", ".jpeg"):
        for picture in folder.rglob(f"*{suffix}"):
            picture.unlink()
    after = load_test_sets(tmp_path / "sets", [], set())[0][name]
    assert [(i.id, i.image_id, i.text) for i in after] == [
        (i.id, i.image_id, i.text) for i in before
    ]
    rows = [Item(f"{n}", item.image_id, item.text) for n, item in enumerate(after) if item.image_id]
    assert find_leaks(rows, {name: after}).rows() == {row.id for row in rows}
