"""Raw material: each layout, the real files, and faults of rows."""

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vlmguard.guard.errors import UserError
from vlmguard.training.synthesis.packed_images import PackedImage
from vlmguard.training.synthesis.record import Row, to_samples
from vlmguard.training.synthesis.sampling import draw_mix
from vlmguard.training.synthesis.sources import read_sources


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), colour).save(buffer, format="PNG")
    return buffer.getvalue()


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def row(number: int, **changes: Any) -> Row:
    fields: dict[str, Any] = {
        "id": f"x/{number}",
        "source": "x",
        "image": Path("/nowhere.png"),
        "image_id": f"x/{number}.png",
        "prompt": "How do I climb this ladder?",
        "safe": "Slowly.",
        "unsafe": "Quickly.",
        "benign": False,
    }
    return Row(**{**fields, **changes})


def test_own_rows(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(
        '{"image": "a.png", "prompt": "One\u2028two?", "safe": "s", "unsafe": "u"}\n\n'
        '{"id": 7, "image": "b.png", "prompt": "Three?", "benign": true, "image_id": "scene-b"}\n'
    )
    first, second = read_sources(str(path))
    assert (first.id, first.image_id, first.prompt) == ("mine/1", "mine/a.png", "One\u2028two?")
    assert (first.safe, first.unsafe, first.benign) == ("s", "u", False)
    assert first.image == tmp_path / "a.png"
    assert (second.id, second.image_id, second.benign) == ("mine/7", "scene-b", True)
    assert second.safe is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"image": "a.png"}', r"line 1: field 'prompt'"),
        ('{"image": "", "prompt": "p"}', r"line 1: field 'image'"),
        ('{"image": "a.png", "prompt": 3.5, "benign": "maybe"}', r"line 1: field 'benign'"),
        ("{", "line 1: cannot be read as JSON"),
        ("[]", "line 1: field 'record'"),
        ('{"image": "../a.png", "prompt": "p"}', "leaves"),
        ('{"image": "/etc/a.png", "prompt": "p"}', "leaves"),
        (
            '{"id": "q", "image": "a", "prompt": "p"}\n{"id": "q", "image": "b", "prompt": "p"}',
            "id mine/q occurs twice",
        ),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(line)
    with pytest.raises(UserError, match=message):
        read_sources(str(path))


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "outside.png").write_bytes(png("red"))
    (tmp_path / "raw" / "a.png").symlink_to(tmp_path / "outside.png")
    (tmp_path / "raw" / "mine.jsonl").write_text('{"image": "a.png", "prompt": "p"}')
    with pytest.raises(UserError, match="leaves"):
        read_sources(str(tmp_path / "raw" / "mine.jsonl"))


def test_vlguard_in_small(tmp_path: Path) -> None:
    unsafe = {"instruction": "Share this?", "response": "Better not."}
    safe = [
        {"safe_instruction": "What is this?", "response": "A cup."},
        {"unsafe_instruction": "Throw it?", "response": "Better not."},
    ]
    write(
        tmp_path / "train.json",
        [
            {"id": "A", "image": "ads/a.png", "safe": False, "instr-resp": [unsafe]},
            {"id": "A", "image": "ads/b.png", "safe": True, "instr-resp": safe},
        ],
    )
    rows = read_sources(f"vlguard:{tmp_path}")
    assert [(each.id, each.benign) for each in rows] == [
        ("vlguard/A/0", False),
        ("vlguard/A~2/0", True),
        ("vlguard/A~2/1", False),
    ]
    assert rows[0].safe == "Better not."
    assert all(each.unsafe is None for each in rows)
    assert rows[0].image == tmp_path / "ads/a.png"


def test_spa_vl_json(tmp_path: Path) -> None:
    record = {"id": 1, "image": "i.png", "question": "Why?", "chosen": "c", "rejected": "r"}
    path = write(tmp_path / "easy.json", [record, {**record, "rejected": None}])
    first, second = read_sources(f"spa_vl:{path}")
    assert (first.id, first.image_id) == ("spa_vl/easy/0", "spa_vl/i.png")
    assert (first.prompt, first.safe, first.unsafe) == ("Why?", "c", "r")
    assert second.unsafe is None


def test_spa_vl_parquet_takes_out_the_images_of_drawn_rows_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    table = pa.table(
        {
            "image": [{"bytes": png(colour), "path": None} for colour in ("red", "blue", "lime")],
            "question": ["One?", "Two?", "Three?"],
            "chosen": ["c1", "c2", "c3"],
            "rejected": ["r1", "r2", "r3"],
            "image_name": ["1.jpg", "2.jpg", "3.jpg"],
        }
    )
    (tmp_path / "data").mkdir()
    pq.write_table(table, tmp_path / "data" / "train-0.parquet")
    rows = read_sources(f"spa_vl:{tmp_path / 'data'}")
    assert [each.image_id for each in rows] == ["spa_vl/1.jpg", "spa_vl/2.jpg", "spa_vl/3.jpg"]
    assert isinstance(rows[1].image, PackedImage)
    (sample,) = to_samples(rows[1:2], contrast=True, sampled=False)
    extracted = list((tmp_path / "cache").rglob("*.png"))
    assert len(extracted) == 1
    assert extracted[0].read_bytes() == png("blue")
    assert sample.metadata is not None
    assert sample.metadata["drop"] is None
    assert sample.metadata["image_file"] == str(extracted[0])


def test_a_parquet_file_that_is_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train-0.parquet"
    pq.write_table(pa.table({"question": ["One?"], "image_name": ["1.jpg"]}), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"train-0\.parquet: cannot be read as Parquet"):
        read_sources(f"spa_vl:{path}")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mossbench:/x", "is not known.* Choose vlguard, spa_vl, vlsbench, jsonl"),
        ("vlguard", "set VLMGUARD_DATA"),
        ("vlguard:/no/such/folder", "does not exist"),
        ("none.jsonl", "does not exist"),
    ],
)
def test_a_source_that_is_not_there(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_sources(spec)


def test_a_real_train_split(real_data: Any) -> None:
    rows = read_sources(f"vlguard:{real_data('vlguard', 'train.json')}")
    assert len(rows) == 2977
    assert Counter(each.benign for each in rows) == {False: 2000, True: 977}


def test_a_real_test_set_as_source(real_data: Any) -> None:
    rows = read_sources([f"vlsbench:{real_data('vlsbench')}"])
    assert len(rows) == 2241
    # One record of the published file has a blank instruction.
    assert [each.id for each in rows if not each.prompt.strip()] == ["vlsbench/1685"]


def test_the_mix_is_drawn_with_a_seed() -> None:
    rows = [row(number, benign=number % 3 == 0) for number in range(30)]
    drawn = draw_mix(rows, 5, 2, 0)
    assert Counter(each.benign for each in drawn) == {False: 5, True: 2}
    assert drawn == draw_mix(rows, 5, 2, 0)
    assert drawn != draw_mix(rows, 5, 2, 1)
    assert drawn == [each for each in rows if each in drawn]
    # The benign draw does not depend on the number of safety rows.
    assert [r for r in drawn if r.benign] == [r for r in draw_mix(rows, 1, 2, 0) if r.benign]
    assert draw_mix(rows, None, None, 0) == rows
    with pytest.raises(UserError, match="hold 10 such rows"):
        draw_mix(rows, 5, 11, 0)
    with pytest.raises(UserError, match="No rows left"):
        draw_mix(rows, 0, 0, 0)


def test_the_mix_can_be_drawn_by_source() -> None:
    small = [row(number) for number in range(10)]
    large = [row(number, id=f"y/{number}", source="y:z") for number in range(90)]
    benign = [row(number, id=f"b/{number}", benign=True) for number in range(4)]
    rows = [*small, *large, *benign]
    drawn = draw_mix(rows, "x:8,y:z:12", "x:3", 0)
    assert Counter((each.source, each.benign) for each in drawn) == {
        ("x", False): 8,
        ("y:z", False): 12,
        ("x", True): 3,
    }
    assert drawn == draw_mix(rows, ["x:8", "y:z:12"], "x:3", 0)
    # Sources that are not named give no rows.
    assert {each.source for each in draw_mix(rows, "x:8", 0, 0)} == {"x"}
    for wrong in ("x:8,x:2", "w:3", "x:all", "x", ""):
        with pytest.raises(UserError, match="SOURCE:N once for each source"):
            draw_mix(rows, wrong, None, 0)
    with pytest.raises(UserError, match=r"safety=x:11: the sources hold 10 such rows"):
        draw_mix(rows, "x:11", None, 0)


def test_two_files_of_one_name_are_told_apart_by_hand(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "rows.jsonl").write_text('{"image": "a.png", "prompt": "p"}')
    specs = [str(tmp_path / folder / "rows.jsonl") for folder in ("a", "b")]
    with pytest.raises(UserError, match=r"b/rows\.jsonl: the id rows/1 .*a/rows\.jsonl"):
        read_sources(specs)


@pytest.mark.parametrize(
    ("changes", "options", "drop"),
    [
        ({}, {}, None),
        ({"safe": None}, {}, "no_safe_response"),
        ({"unsafe": "  "}, {}, "no_unsafe_response"),
        ({"unsafe": None}, {"sampled": True}, None),
        ({"unsafe": None}, {"contrast": False}, None),
        ({"unsafe": None, "benign": True}, {}, None),
        ({"safe": "Slowly!", "unsafe": "slowly"}, {}, "identical_responses"),
        ({"prompt": "  "}, {}, "empty_prompt"),
        ({"image": Path("/nowhere/at/all.png")}, {}, "missing_image"),
    ],
)
def test_what_cannot_be_worked_on_is_marked(
    picture: Path, changes: dict[str, Any], options: dict[str, bool], drop: str | None
) -> None:
    good = row(0, image=picture)
    marked = row(1, **{"image": picture, **changes})
    samples = to_samples([good, marked], **{"contrast": True, "sampled": False, **options})
    assert samples[1].metadata is not None
    assert samples[1].metadata["drop"] == drop


def test_nothing_to_work_on_is_an_error(picture: Path) -> None:
    lacking: list[Row] = [row(number, image=picture, unsafe=None) for number in range(3)]
    with pytest.raises(UserError, match=r"None of the 3 rows .* x/0: no_unsafe_response"):
        to_samples(lacking, contrast=True, sampled=False)


def test_a_broken_image_is_marked(picture: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(picture.read_bytes()[:40])
    samples = to_samples(
        [row(0, image=picture), row(1, image=broken)], contrast=True, sampled=False
    )
    assert [(each.metadata or {})["drop"] for each in samples] == [None, "missing_image"]
