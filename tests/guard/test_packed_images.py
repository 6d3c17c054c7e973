"""Parquet files with images inside."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlmguard.guard.errors import UserError
from vlmguard.guard.packed_images import image_cache, image_file, read_parquet

PNG = b"\x89PNG and so on"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_chosen_columns_of_every_row(tmp_path: Path) -> None:
    rows = [{"id": number, "text": f"t{number}", "image": PNG} for number in range(70)]
    file = write(tmp_path / "a.parquet", rows)
    assert list(read_parquet(file)) == rows
    assert [row["id"] for row in read_parquet(file, ["id"])] == list(range(70))
    assert next(iter(read_parquet(file, without=["image"]))) == {"id": 0, "text": "t0"}
    with pytest.raises(UserError, match=r"a\.parquet: no column answer\. Download it again"):
        list(read_parquet(file, ["id", "answer"]))


def test_what_is_no_parquet_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 but no more")
    for file in (tmp_path / "a.parquet", tmp_path / "none.parquet", tmp_path):
        with pytest.raises(UserError, match=r"cannot be read as Parquet .*Download it again"):
            list(read_parquet(file))


@pytest.mark.parametrize("cell", [PNG, {"bytes": PNG, "path": "x.png"}])
def test_an_image_gets_a_file_once(cell: object, tmp_path: Path, cache: Path) -> None:
    file = image_file(cell, tmp_path / "a.parquet", 0)
    assert (file.read_bytes(), file.suffix, file.parent) == (PNG, ".png", image_cache())
    assert file.is_relative_to(cache)
    assert image_file(cell, tmp_path / "other.parquet", 9) == file
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("cell", [None, b"", {"bytes": None, "path": "x.png"}, "x.png"])
def test_a_row_without_an_image_leads_nowhere(cell: object, tmp_path: Path, cache: Path) -> None:
    file = image_file(cell, tmp_path / "a.parquet", 3)
    assert not file.exists()
    assert file.name == "(row 3 of a.parquet holds no image)"
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, cache: Path) -> None:
    cache.write_text("no folder")
    with pytest.raises(UserError, match=r"image of a\.parquet cannot be written.*XDG_CACHE_HOME"):
        image_file(PNG, tmp_path / "a.parquet", 0)
