"""The leak report: small sets by hand, and the real files."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from vlmguard.guard.cards import cards
from vlmguard.training.dataset.fingerprints import Fingerprint
from vlmguard.training.dataset.items import Item, with_images
from vlmguard.training.dataset.leaks import Leak, find_leaks
from vlmguard.training.dataset.similarity import normalise_text
from vlmguard.training.dataset.testsets import read_benchmark
from vlmguard.training.synthesis.sources import read_sources


def item(name: str, text: str = "What is this?", image: Path | None = None) -> Item:
    return Item(f"row/{name}", f"source/{name}", text, image)


def real_vlguard(folder: Path) -> list[Item]:
    items, missing = read_benchmark(cards().benchmarks["vlguard"], folder)
    assert missing == []
    return items


def draw(path: Path, x: int, quality: int = 95) -> Path:
    picture = Image.new("RGB", (120, 120), "white")
    ImageDraw.Draw(picture).ellipse((x, 20, x + 50, 90), fill="navy")
    picture.save(path, quality=quality)
    return path


def test_every_kind_of_leak(tmp_path: Path) -> None:
    test = with_images(
        [
            Item("t/1", "source/a.png", "Other?"),
            Item("t/2", "t/b.png", "Other?", draw(tmp_path / "b.png", 5)),
            Item("t/3", "t/c.png", "Is it  FAST?!", draw(tmp_path / "c.png", 60)),
        ]
    )
    (tmp_path / "copy.png").write_bytes((tmp_path / "b.png").read_bytes())
    rows = with_images(
        [
            item("a.png"),
            item("bytes", image=tmp_path / "copy.png"),
            item("near", image=draw(tmp_path / "near.jpg", 5, quality=60)),
            item("pair", "is it fast", image=draw(tmp_path / "pair.jpg", 60, quality=60)),
            item("text", "Is it fast?", image=draw(tmp_path / "d.png", 30)),
            item("clean", "Is it slow?", image=draw(tmp_path / "e.png", 35)),
        ]
    )
    report = find_leaks(rows, {"t": test, "absent": []})
    assert [(leak.row, leak.kind, leak.item) for leak in report.blocking] == [
        ("row/a.png", "image_name", "t/1"),
        ("row/bytes", "image_bytes", "t/2"),
        ("row/near", "near_image", "t/2"),
        ("row/pair", "pair", "t/3"),
    ]
    assert report.reported == [Leak("row/text", "t", "t/3", "source/text", "text")]
    assert report.checked == {"t": {"items": 3, "images": 2}}
    assert report.unchecked == ["absent"]

    strict = find_leaks(rows, {"t": test}, strict_text=True)
    assert {leak.row for leak in strict.blocking} - report.rows() == {"row/text"}

    # If a scene may be on both sides, only scene and request together block.
    by_pair = find_leaks(rows, {"t": test}, key="pair")
    assert by_pair.rows() == {"row/pair"}
    assert len(by_pair.reported) == 4


def test_a_text_that_blocks_is_not_hidden_by_an_image_that_does_not(tmp_path: Path) -> None:
    test = [Item("t/1", "source/a.png", "Other?"), Item("t/2", "t/b.png", "Is it fast?")]
    rows = [item("a.png", "Is it fast?")]
    strict = find_leaks(rows, {"t": test}, key="pair", strict_text=True)
    assert [(leak.kind, leak.item) for leak in strict.blocking] == [("text", "t/2")]
    # If neither blocks, both are reported.
    lenient = find_leaks(rows, {"t": test}, key="pair")
    assert lenient.blocking == []
    assert [leak.kind for leak in lenient.reported] == ["image_name", "text"]


def test_items_without_text_leak_by_image_alone() -> None:
    test = [Item("t/1", "source/a.png", "")]
    report = find_leaks([item("a.png", "  ?"), item("b.png", "?")], {"t": test})
    assert [(leak.row, leak.kind) for leak in report.blocking] == [("row/a.png", "image_name")]
    assert report.reported == []


def test_the_8_real_images_in_train_and_test_are_caught(real_data: Any) -> None:
    folder = real_data("vlguard", "train.json")
    rows = [Item(row.id, row.image_id, row.prompt) for row in read_sources(f"vlguard:{folder}")]
    report = find_leaks(rows, {"vlguard": real_vlguard(folder)})
    assert {leak.image_id for leak in report.blocking} == {
        "vlguard/bad_ads/07462e40-2463-4787-aa67-23f842390b02.png",
        "vlguard/HOD/img_hod_001282.jpg",
        "vlguard/HOD/img_hod_004405.jpg",
        "vlguard/HOD/img_hod_008677.jpg",
        "vlguard/harm-p/memes_1283.png",
        "vlguard/harm-p/memes_2833.png",
        "vlguard/harm-p/memes_3364.png",
        "vlguard/harm-p/memes_3785.png",
    }
    assert {leak.kind for leak in report.blocking} == {"image_name"}
    # Three of the images carry two requests in train.
    assert len(report.rows()) == 11


def test_264_real_test_requests_have_a_twin_in_train(real_data: Any) -> None:
    folder = real_data("vlguard", "train.json")
    train = {normalise_text(row.prompt) for row in read_sources(f"vlguard:{folder}")}
    test = real_vlguard(folder)
    assert sum(normalise_text(each.text) in train for each in test) == 264


def test_a_stand_in_for_a_real_image_is_found_by_its_pixels(real_data: Any, tmp_path: Path) -> None:
    # The real images are gated: two are drawn under their names, only on the test side.
    items = real_vlguard(real_data("vlguard"))[:2]
    drawn = [
        replace(each, image=draw(tmp_path / f"{n}.png", 9 * n)) for n, each in enumerate(items)
    ]
    copy = draw(tmp_path / "copy.jpg", 9, quality=70)
    report = find_leaks(with_images([item("mine", image=copy)]), {"vlguard": with_images(drawn)})
    assert [leak.item for leak in report.blocking] == [items[1].id]


def test_a_picture_that_thousands_of_items_show_costs_no_more_than_one() -> None:
    blank = Fingerprint(bytes(32), bytes(48))
    items = [Item(f"t/{n}", "t/blank.png", f"Request {n}?", None, "b", blank) for n in range(5000)]
    rows = [Item(f"r/{n}", "r/blank.png", f"Mine {n}?", None, "b", blank) for n in range(1000)]
    rows.append(replace(rows[0], id="r/asked", text="Request 4999?"))
    start = time.process_time()
    report = find_leaks(rows, {"t": items})
    # Each with each would be 5 million comparisons of texts, over a minute.
    assert time.process_time() - start < 15
    assert {leak.kind for leak in report.blocking[:-1]} == {"image_bytes"}
    asked = report.blocking[-1]
    assert (asked.row, asked.item, asked.kind) == ("r/asked", "t/4999", "pair")
