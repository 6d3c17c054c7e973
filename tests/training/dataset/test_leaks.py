"""The leak report: small sets by hand, and the real files."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from vlmguard.guard.errors import UserError
from vlmguard.training.dataset.leaks import Leak, find_leaks, lacking, load_test_sets
from vlmguard.training.dataset.similarity import normalise_text
from vlmguard.training.dataset.testsets import (
    MM_SCENARIOS,
    TEST_SETS,
    Item,
    read_own_set,
    read_test_set,
    with_images,
)
from vlmguard.training.synthesis.sources import read_sources


def item(name: str, text: str = "What is this?", image: Path | None = None) -> Item:
    return Item(f"row/{name}", f"source/{name}", text, image)


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


def test_two_test_sets_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("a/test.jsonl", "b/test.jsonl", "siuo.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"image": "a.png", "prompt": "One?"}\n')
    with pytest.raises(UserError, match=r"b/test\.jsonl: the name test is taken"):
        load_test_sets(None, [tmp_path / "a/test.jsonl", tmp_path / "b/test.jsonl"], set())
    with pytest.raises(UserError, match="the name siuo is taken"):
        load_test_sets(None, [tmp_path / "siuo.jsonl"], {"siuo"})


def test_a_missing_part_of_a_test_set_is_reported(tmp_path: Path) -> None:
    (tmp_path / "figstep").mkdir()
    (tmp_path / "figstep/safebench.csv").write_text("category_id,task_id\n1,1\n")
    questions = tmp_path / "mm_safetybench/data/processed_questions"
    questions.mkdir(parents=True)
    asked = {"Rephrased Question(SD)": "a", "Rephrased Question": "b"}
    for name in MM_SCENARIOS[1:]:
        (questions / f"{name}.json").write_text(json.dumps({"0": asked}))
    sets = load_test_sets(tmp_path, [], {"siuo", "vlguard", "vlsbench"})
    report = find_leaks([item("a.png")], sets, missing=lacking(tmp_path, sets))
    assert report.unchecked == ["mm_safetybench/01-Illegal_Activitiy", "figstep/SafeBench-Tiny.csv"]
    assert set(report.checked) == {"figstep", "mm_safetybench"}


def test_items_without_text_leak_by_image_alone() -> None:
    test = [Item("t/1", "source/a.png", "")]
    report = find_leaks([item("a.png", "  ?"), item("b.png", "?")], {"t": test})
    assert [(leak.row, leak.kind) for leak in report.blocking] == [("row/a.png", "image_name")]
    assert report.reported == []


def test_own_test_set(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", 3)
    path = tmp_path / "held.jsonl"
    path.write_text(
        '{"image": "a.png", "prompt": "One?"}\n'
        '{"image": "a.png", "prompt": "Two?", "image_id": "scene-1", "id": "z"}\n'
    )
    sets = load_test_sets(None, [path], set())
    first, second = sets["held"]
    assert (first.id, first.image_id) == ("held/1", "held/a.png")
    assert (second.id, second.image_id) == ("held/z", "scene-1")
    assert first.print is not None
    assert all(sets[name] == [] for name in TEST_SETS)


@pytest.mark.parametrize("line", ["{", '{"prompt": "p"}', "[1]"])
def test_a_bad_own_test_set_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "held.jsonl"
    path.write_text(line)
    with pytest.raises(UserError, match=r"held\.jsonl: .*cannot be read as"):
        read_own_set(path)


def test_a_test_set_of_another_layout_is_named(tmp_path: Path) -> None:
    (tmp_path / "test.json").write_text(json.dumps([{"name": "x"}]))
    with pytest.raises(UserError, match="not the layout of vlguard"):
        read_test_set("vlguard", tmp_path)


def test_real_test_sets_are_read_whole(real_data: Any) -> None:
    names = ("siuo", "vlguard", "mm_safetybench", "figstep", "vlsbench")
    (root,) = {real_data(name).parent for name in names}
    sets = load_test_sets(root, [], set())
    assert {name: len(items) for name, items in sets.items()} == {
        "siuo": 167,
        "vlguard": 1558,
        "mm_safetybench": 5040,
        "figstep": 550,
        "vlsbench": 2241,
    }
    assert all(len({each.id for each in items}) == len(items) for items in sets.values())
    assert lacking(root, sets) == []


def test_the_8_real_images_in_train_and_test_are_caught(real_data: Any) -> None:
    folder = real_data("vlguard", "train.json")
    rows = [Item(row.id, row.image_id, row.prompt) for row in read_sources(f"vlguard:{folder}")]
    report = find_leaks(rows, {"vlguard": read_test_set("vlguard", folder)})
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
    test = read_test_set("vlguard", folder)
    assert sum(normalise_text(each.text) in train for each in test) == 264


def test_a_stand_in_for_a_real_image_is_found_by_its_pixels(real_data: Any, tmp_path: Path) -> None:
    # The real images are gated: two are drawn under their names, only on the test side.
    items = read_test_set("vlguard", real_data("vlguard"))[:2]
    drawn = [
        replace(each, image=draw(tmp_path / f"{n}.png", 9 * n)) for n, each in enumerate(items)
    ]
    copy = draw(tmp_path / "copy.jpg", 9, quality=70)
    report = find_leaks(with_images([item("mine", image=copy)]), {"vlguard": with_images(drawn)})
    assert [leak.item for leak in report.blocking] == [items[1].id]
