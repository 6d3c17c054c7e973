"""Rows of Parquet files: shards in order, images as files, and faults with their place."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field
from support.parquet import packed_picture, write_parquet

from vlmguard.guard.cards import Card
from vlmguard.guard.data_records import Text
from vlmguard.guard.data_source import MissingFile, local
from vlmguard.guard.errors import UserError
from vlmguard.tasks.data.parquet import parquet_files, read_rows

CARD = Card(name="kitchen", title="Kitchen", obtain="Take pictures.")


class Item(BaseModel):
    """A row of the kitchen's file."""

    question: Text
    level: int = Field(alias="l2")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def row(number: int, **changed: Any) -> dict[str, Any]:
    return {"question": f"Q{number}?", "l2": number, "image": packed_picture(number), **changed}


def test_shards_are_read_in_order_and_numbered_on(tmp_path: Path) -> None:
    write_parquet(tmp_path / "data/test-00001-of-00002.parquet", [row(2)])
    write_parquet(tmp_path / "data/test-00000-of-00002.parquet", [row(0), row(1)])
    files = parquet_files(local(CARD, tmp_path), "nothing/*.parquet", "data/test-*.parquet")
    rows = read_rows(files, Item)
    assert [each.number for each in rows] == [0, 1, 2]
    assert [(each.item.question, each.item.level) for each in rows] == [
        ("Q0?", 0),
        ("Q1?", 1),
        ("Q2?", 2),
    ]
    assert [each.image.read_bytes() for each in rows if each.image] == [
        packed_picture(number)["bytes"] for number in range(3)
    ]


def test_equal_pictures_have_one_name(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", [row(0), row(1), row(2, image=packed_picture(0))])
    first, second, third = (each.image_id for each in read_rows([file], Item))
    assert first == third
    assert first != second


def test_images_are_left_alone_where_they_are_not_wanted(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", [{"question": "Q?", "l2": 1}])
    (only,) = read_rows([file], Item, images=False)
    assert only.image is None
    assert not (tmp_path / "cache").exists()


def test_a_row_without_an_image_names_a_file_that_does_not_exist(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", [row(0), row(1, image=None)])
    image = read_rows([file], Item)[1].image
    assert image is not None
    assert not image.exists()
    assert "row 1 of a.parquet" in image.name


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(0), row(1, question=" ")], r"a.parquet: row 1: field 'question'"),
        ([row(0, l2="one")], r"a.parquet: row 0: field 'l2'"),
        ([{"question": "Q?", "image": None}], "no column l2"),
        ([{"question": "Q?", "l2": 1}], "no column image"),
    ],
)
def test_faults_are_named(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    file = write_parquet(tmp_path / "a.parquet", rows)
    with pytest.raises(UserError, match=message):
        read_rows([file], Item)


def test_a_missing_split_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"or b/\*.parquet not found .*Take pictures"):
        parquet_files(local(CARD, tmp_path), "a/*.parquet", "b/*.parquet")
