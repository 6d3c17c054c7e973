"""Test sets: every layout, with images and without, and what is missing or damaged."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText
from PIL import Image
from support.benchmark_folders.jailbreakv import write_jailbreakv
from support.benchmark_folders.vlsbench import write_vlsbench, write_vlsbench_parquet
from support.folders import write_figstep, write_mm_parquet, write_mm_safetybench, write_vlguard
from support.parquet import write_parquet
from support.siuo_folder import write_siuo

from vlmguard.guard.cards import Card, cards
from vlmguard.guard.data_source import MissingFile
from vlmguard.guard.errors import UserError
from vlmguard.guard.messages import user_message
from vlmguard.training.dataset.items import Item, with_images
from vlmguard.training.dataset.leaks import find_leaks
from vlmguard.training.dataset.testsets import load_test_sets, read_benchmark, read_own_set

BENCHMARKS = {name: card for name, card in cards().benchmarks.items() if card.layouts}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def packed(root: Path, count: int = 2, kinds: tuple[str, ...] = ("SD", "TYPO", "SD_TYPO")) -> Path:
    """Write the hub's copy of MM-SafetyBench."""
    for shade, kind in enumerate(kinds):
        rows = []
        for number in range(count):
            file = io.BytesIO()
            Image.new("RGB", (24, 24), (90 * shade, 100 * number, 200)).save(file, format="PNG")
            image = {"bytes": file.getvalue(), "path": None}
            rows.append({"id": number, "question": f"Shown {number}?", "image": image})
        write_mm_parquet(root, kind, rows)
    return root


def authors_mm(root: Path) -> Path:
    return write_mm_safetybench(root, image_types=("SD", "TYPO", "SD_TYPO"))


def below(folder: str, write: Callable[[Path], Path]) -> Callable[[Path], Path]:
    """The same files, moved out of or into a folder (`-data`, `+data`)."""

    def moved(root: Path) -> Path:
        if folder.startswith("+"):
            write(root / folder[1:])
            return root
        write(root)
        for file in list((root / folder[1:]).iterdir()):
            file.rename(root / file.name)
        (root / folder[1:]).rmdir()
        return root

    return moved


# For each layout: how it is written, number of pictures, an image of it and its request.
LAYOUTS: dict[str, tuple[Callable[[Path], Path], int, str, str]] = {
    "siuo": (lambda root: write_siuo(root, 3), 3, "S-01.png", "May I paint this room in colour 1?"),
    "siuo, no data/": (
        below("-data", lambda root: write_siuo(root, 3)),
        *(3, "S-01.png", "May I paint this room in colour 1?"),
    ),
    "vlguard": (write_vlguard, 10, "bad_ads/s1.png", "What colour is wall 1?"),
    "vlguard, data/": (
        below("+data", write_vlguard),
        *(10, "bad_ads/s1.png", "What colour is wall 1?"),
    ),
    "vlguard, no test/": (
        below("-test", write_vlguard),
        *(10, "bad_ads/s1.png", "What colour is wall 1?"),
    ),
    "mm_safetybench": (
        authors_mm,
        *(78, "06-Fraud/SD_TYPO/2.jpg", "Bottom 1 of 06-Fraud?"),
    ),
    "mm_safetybench, no data/": (
        below("-data", authors_mm),
        *(78, "06-Fraud/SD/2.jpg", "Shown 1 of 06-Fraud?"),
    ),
    "mm_safetybench, Parquet": (packed, 78, "06-Fraud/TYPO/1.jpg", "Shown 1?"),
    "figstep": (
        write_figstep,
        10,
        "SafeBench-Tiny/query_ForbidQI_3_1_6.png",
        "How to plant tree 3-1?",
    ),
    "figstep, no data/": (
        below("-data", write_figstep),
        *(10, "SafeBench-Tiny/query_ForbidQI_3_1_6.png", "How to plant tree 3-1?"),
    ),
    "figstep, no folders": (
        below("-question", below("-images", below("-data", write_figstep))),
        *(10, "SafeBench-Tiny/query_ForbidQI_3_1_6.png", "How to plant tree 3-1?"),
    ),
    # Eight rows, four of which are in the small split, too.
    "jailbreakv": (
        lambda root: write_jailbreakv(root, 8),
        *(12, "query_related/6.png", "Be a gnome, and tell how to water plant 3 (6)."),
    ),
    "vlsbench": (write_vlsbench, 4, "imgs/1.png", "May I use thing 3?"),
    "vlsbench, data.json and Parquet": (
        lambda root: write_vlsbench_parquet(below("-imgs", write_vlsbench)(root)),
        *(4, "imgs/1.png", "May I use thing 3?"),
    ),
}


def without_images(folder: Path) -> None:
    for file in [*folder.rglob("*.png"), *folder.rglob("*.jpg")]:
        file.unlink()
    for file in folder.rglob("*.parquet"):
        rows = [{**row, "image": None} for row in pq.read_table(file).to_pylist()]
        write_parquet(file, rows)


def as_links(folder: Path, target: Path) -> None:
    """Turn a folder into one of the hub's client: links to files in another place."""
    blobs = target.parent / "blobs"
    blobs.mkdir(parents=True)
    for number, file in enumerate([each for each in folder.rglob("*") if each.is_file()]):
        link = target / file.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        file.rename(blobs / str(number))
        link.symlink_to(os.path.relpath(blobs / str(number), link.parent))


@pytest.mark.parametrize("images", ["there", "absent", "links"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_row_that_is_a_test_image_is_found(layout: str, images: str, tmp_path: Path) -> None:
    write, count, image, request = LAYOUTS[layout]
    name = layout.split(",")[0]
    write(tmp_path / "sets" / name)
    if images == "absent":
        without_images(tmp_path / "sets" / name)
    if images == "links":
        as_links(tmp_path / "sets" / name, tmp_path / "hub" / "snapshot")
        (tmp_path / "sets" / name).rename(tmp_path / "empty")
        (tmp_path / "sets" / name).symlink_to(tmp_path / "hub" / "snapshot")
    before = set((tmp_path / "sets").rglob("*"))

    sets, _ = load_test_sets(tmp_path / "sets", [], set())
    (found,) = [
        item
        for item in sets[name]
        if item.image_id == f"{name}/{image}" and item.text == request and item.image
    ]
    Image.linear_gradient("L").save(tmp_path / "clean.png")
    rows = [
        Item("named", f"{name}/{image}", "Something else?"),
        Item("clean", "own/clean.png", "Something else?", tmp_path / "clean.png"),
    ]
    expected = {"named": "image_name"}
    if request:
        rows.append(Item("asked", f"{name}/{image}", request.upper()))
        expected["asked"] = "pair"
    if images != "absent":
        assert found.image
        (tmp_path / "copy").write_bytes(found.image.read_bytes())
        Image.open(found.image).save(tmp_path / "near.bmp")
        rows.append(Item("copied", "own/1.png", "Something else?", tmp_path / "copy"))
        rows.append(Item("redone", "own/2.png", "Something else?", tmp_path / "near.bmp"))
        expected |= {"copied": "image_bytes", "redone": "near_image"}
    report = find_leaks(with_images(rows), sets)
    assert {leak.row: leak.kind for leak in report.blocking} == expected
    assert report.reported == []
    # Text-only variants are items without an image.
    items = count + sum(item.image is None for item in sets[name])
    there = 0 if images == "absent" else count
    assert report.checked == {name: {"items": items, "images": there}}
    assert before == set((tmp_path / "sets").rglob("*"))


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    write_figstep(tmp_path / "figstep")
    scenario = authors_mm(tmp_path / "mm_safetybench") / "data/processed_questions/07-Sex.json"
    scenario.unlink()
    packed(tmp_path / "siuo")  # Another benchmark's files: all of this one's are missing.
    (tmp_path / "vlguard").mkdir()
    others = {*BENCHMARKS} - {"figstep", "mm_safetybench", "siuo", "vlguard"}
    sets, missing = load_test_sets(tmp_path, [], others)
    report = find_leaks([], sets, missing=missing)
    assert report.unchecked == [
        *("siuo", "vlguard"),
        *("figstep/full", "figstep/tiny (40 of 50 samples)"),
        "mm_safetybench/sd (1,656 of 1,680 samples)",
        "mm_safetybench/typo (1,656 of 1,680 samples)",
        "mm_safetybench/sd_typo (1,656 of 1,680 samples)",
        "mm_safetybench/text_only (1,656 of 1,680 samples)",
    ]
    assert set(report.checked) == {"figstep", "mm_safetybench"}
    assert report.checked["mm_safetybench"] == {"items": 96, "images": 72}


def test_an_image_type_that_was_not_downloaded_is_named(tmp_path: Path) -> None:
    packed(tmp_path, kinds=("SD", "TYPO"))
    _, missing = read_benchmark(BENCHMARKS["mm_safetybench"], tmp_path)
    assert missing[2:] == ["mm_safetybench/sd_typo", "mm_safetybench/text_only"]


def test_benchmarks_without_files_are_no_test_sets(tmp_path: Path) -> None:
    (tmp_path / "microworld").mkdir()
    sets, missing = load_test_sets(tmp_path, [], {"siuo"})
    assert sets == {name: [] for name in sorted({*BENCHMARKS} - {"siuo"})}
    assert "microworld" not in sets
    assert missing == []


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("siuo", "data/siuo_gen.json", "{", r"siuo_gen\.json: cannot be read.*Download it again"),
        (
            "vlguard",
            "test.json",
            '[{"name": "x"}]',
            r"test\.json: record 0: field 'image'.*Correct",
        ),
        ("vlguard", "data/test.json", "[]", r"data/test\.json: holds no records"),
        ("figstep", "safebench.csv", "category_id\n1\n", r"safebench\.csv: row 1: field 'dataset'"),
        ("vlsbench", "data.json", '[{"id": 1}]', r"record 0: field 'instruction_id'.*Correct"),
        ("vlsbench", "data.json", "{", r"data\.json: cannot be read.*Download it again"),
    ],
)
def test_a_damaged_file_is_named(
    name: str, file: str, content: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name / file
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        load_test_sets(tmp_path, [], set())


def card_of(**variants: list[Sample]) -> Card:
    """A benchmark of these samples; a variant without samples is missing."""

    def load(source: Any, variant: str) -> list[Sample]:
        if not variants[variant]:
            raise MissingFile(variant)
        return variants[variant]

    return Card(
        name="mine",
        title="Mine",
        layouts=("mine.json",),
        variants={name: len(samples) for name, samples in variants.items()},
        load=load,
        image_names=lambda sample: (sample.metadata or {})["images"],
    )


def sample(sample_id: str, text: str, *images: str, **more: Any) -> Sample:
    content = [*(ContentImage(image=image) for image in images), ContentText(text=text)]
    return Sample(
        id=sample_id,
        input=[ChatMessageUser(content=content)],
        metadata={"images": [f"n-{image}" for image in images], **more},
    )


def test_what_becomes_of_samples(tmp_path: Path) -> None:
    card = card_of(
        bare=[sample("mine/1", "One?", "a.png"), sample("mine/2", "Two?", "b.png", "c.png")],
        # The same questions in the task's words; of one of them, another image.
        wrapped=[
            sample("mine/1", "Choose: One?", "a.png", requests=["One?"]),
            sample("mine/2", "Pick:", "d.png", requests=["Two?", "To?"]),
        ],
        # Two questions of one id: both count.
        double=[sample("mine/7", "Five?", "e.png"), sample("mine/7", "Six?", "e.png")],
        plain=[Sample(id="mine/9", input="No image?")],
        absent=[],
    )
    items, missing = read_benchmark(card, tmp_path)
    assert [(item.id, item.image_id, item.text) for item in items] == [
        ("mine/1", "mine/n-a.png", "One?"),
        ("mine/2", "mine/n-b.png", "Two?"),
        ("mine/2", "mine/n-c.png", "Two?"),
        ("mine/2", "mine/n-d.png", "To?"),
        ("mine/2", "mine/n-d.png", "Two?"),
        ("mine/7", "mine/n-e.png", "Five?"),
        ("mine/7", "mine/n-e.png", "Six?"),
        ("mine/9", "", "No image?"),
    ]
    assert missing == ["mine/absent"]


def test_a_text_that_all_samples_share_counts_for_none(tmp_path: Path) -> None:
    card = card_of(
        fixed=[sample("mine/1", "Fill in.", "a.png"), sample("mine/2", "Fill in.", "b.png")],
        single=[sample("mine/3", "Fill in.", "c.png")],
    )
    items, _ = read_benchmark(card, tmp_path)
    assert [item.text for item in items] == ["", "", "Fill in."]


def test_names_are_those_of_the_files(tmp_path: Path) -> None:
    for layout, (write, *_) in LAYOUTS.items():
        name = layout.split(",")[0]
        write(tmp_path / layout)
        items, _ = read_benchmark(BENCHMARKS[name], tmp_path / layout)
        if layout.endswith("Parquet"):
            continue  # Files of images from inside a file have no such names.
        # The name is the end of the path below the folder of images.
        assert all(str(item.image).endswith(item.image_id.removeprefix(name)) for item in items)


def test_two_test_sets_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("a/test.jsonl", "b/test.jsonl", "siuo.jsonl", "vlsbench.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"image": "a.png", "prompt": "One?"}\n')
    with pytest.raises(UserError, match=r"b/test\.jsonl: the name test is taken"):
        load_test_sets(None, [tmp_path / "a/test.jsonl", tmp_path / "b/test.jsonl"], set())
    for taken in ("siuo", "vlsbench"):
        with pytest.raises(UserError, match=f"the name {taken} is taken"):
            load_test_sets(None, [tmp_path / f"{taken}.jsonl"], {taken})


def test_own_test_set(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    path = tmp_path / "held.jsonl"
    path.write_text(
        '{"image": "a.png", "prompt": "One?"}\n{"prompt": "Two?", "image_id": "scene-1", "id": 7}\n'
    )
    sets, missing = load_test_sets(None, [path], set())
    first, second = sets.pop("held")
    assert (first.id, first.image_id) == ("held/1", "held/a.png")
    assert (second.id, second.image_id) == ("held/7", "scene-1")
    assert first.print is not None
    assert sets == {name: [] for name in sorted({*BENCHMARKS})}
    assert missing == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: cannot be read as JSON"),
        ('{"prompt": "p"}', "line 1: .*neither image nor image_id is given"),
        ('{"image": "", "prompt": "p"}', "line 1: .*neither image nor image_id is given"),
        ('{"image": "a.png"}', "line 1: field 'prompt'"),
        ('{"image": "a.png", "prompt": 5.5}\n{"image": [], "prompt": ""}', "line 2: field 'image'"),
        ("[1]", "line 1: field 'record'"),
        ("", "holds no records"),
    ],
)
def test_a_bad_own_test_set_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "held.jsonl"
    path.write_text(line)
    with pytest.raises(UserError, match=rf"held\.jsonl: .*{message}"):
        read_own_set(path)


def test_an_image_name_that_is_no_path_is_still_a_name(tmp_path: Path) -> None:
    names = ["x" * 5000 + ".png", "a\0b.png", "/dev/zero"]
    message = user_message(names, "What is this?")
    card = card_of(only=[Sample(id="m/1", input=[message], metadata={"images": names})])
    items, _ = read_benchmark(card, tmp_path)
    assert [item.image_id for item in with_images(items)] == [f"mine/{name}" for name in names]


def test_real_test_sets_are_read_whole(real_data: Any) -> None:
    names = ("siuo", "vlguard", "mm_safetybench", "figstep", "vlsbench")
    (root,) = {real_data(name).parent for name in names}
    sets, missing = load_test_sets(root, [], set())
    assert not [part for part in missing if part.split("/")[0] in names]
    found = find_leaks([], sets)
    assert {name: found.checked[name]["items"] for name in names} == {
        "siuo": 167,
        "vlguard": 1558,
        # 1,680 of them are texts alone.
        "mm_safetybench": 6720,
        "figstep": 550,
        "vlsbench": 2241,
    }
