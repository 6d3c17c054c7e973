"""Rows of five forms: the same rows give the same samples, and what is wrong is named."""

import csv
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.parquet import packed_picture, write_parquet

from vlmguard.guard.cards import Card
from vlmguard.guard.data_source import local
from vlmguard.guard.errors import UserError
from vlmguard.tasks.any_set.preset import Preset
from vlmguard.tasks.any_set.rows import as_text, columns_of, find, read_rows
from vlmguard.tasks.any_set.samples import load_samples

Rows = list[dict[str, Any]]


def as_csv(rows: Rows) -> str:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    for row in rows:
        cells = {k: v if isinstance(v, str) else json.dumps(v) for k, v in row.items()}
        writer.writerow(cells)
    return out.getvalue()


FORMS: dict[str, Callable[[Path, Rows], object]] = {
    "list.json": lambda path, rows: path.write_text(json.dumps(rows)),
    "object.json": lambda path, rows: path.write_text(
        json.dumps({f"row {number}": row for number, row in enumerate(rows)})
    ),
    "lines.jsonl": lambda path, rows: path.write_text("\n".join(map(json.dumps, rows))),
    "cells.csv": lambda path, rows: path.write_text(as_csv(rows), newline=""),
    "table.parquet": write_parquet,
}

# No control characters, of which a CSV file cannot tell line ends apart; no halves of characters.
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1).filter(
    lambda text: bool(text.strip())
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "key": st.integers(0, 10**9),
            "said": TEXT,
            "sure": st.booleans(),
            "pictures": st.lists(st.from_regex(r"\A[a-z]{1,8}\.png\Z"), min_size=1, max_size=3),
        }
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda row: row["key"],  # type: ignore[no-any-return]
)
FORM = {
    "map": {"id": "key", "text": "said", "images": "pictures"},
    "expected": "field:sure",
    "expected_values": {"true": "refuse", "false": "comply"},
}


@given(ROWS)
def test_the_same_rows_in_five_forms_give_the_same_samples(rows: Rows) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {}
        for form, write in FORMS.items():
            write(folder / form, rows)
            preset = Preset(name="garden", file=form, **FORM)
            samples = load_samples(local(Card("garden", "Garden"), folder), preset)
            found[form] = [
                (
                    each.id,
                    [turn.model_dump(exclude={"id"}) for turn in each.input],  # type: ignore[union-attr]
                    each.metadata,
                )
                for each in samples
            ]
    first = found.pop("list.json")
    assert [each[0] for each in first] == [f"garden/{row['key']}" for row in rows]
    assert [each[2]["expected"] for each in first] == [
        "refuse" if row["sure"] else "comply" for row in rows
    ]
    for form, samples in found.items():
        assert samples == first, form


def test_keys_and_numbers_stand_in_for_ids(tmp_path: Path) -> None:
    rows = [{"said": "Dig?"}, {"said": "Rake?"}]
    ids = {}
    for form, write in FORMS.items():
        write(tmp_path / form, rows)
        preset = Preset(name="garden", file=form, map={"text": "said"}, expected="comply")
        samples = load_samples(local(Card("garden", "Garden"), tmp_path), preset)
        ids[form] = [each.id for each in samples]
    assert ids.pop("object.json") == ["garden/row 0", "garden/row 1"]
    assert set(map(tuple, ids.values())) == {("garden/0", "garden/1")}


def test_nan_of_a_data_frame_is_no_text(tmp_path: Path) -> None:
    rows = [{"label": 1.5}, {"label": float("nan")}]
    read = read_rows(write_parquet(tmp_path / "table.parquet", rows))
    assert [as_text(row.cells["label"]) for row in read] == ["1.5", ""]


def test_pictures_inside_parquet_become_files_and_named_ones_stay_names(tmp_path: Path) -> None:
    picture = packed_picture(5)
    named = {"bytes": None, "path": "hoe.png"}
    rows = [{"one": picture, "many": [picture, named]}, {"one": named, "many": []}]
    first, second = read_rows(write_parquet(tmp_path / "table.parquet", rows))
    assert first.cells["one"].read_bytes() == picture["bytes"]
    assert first.cells["many"] == [first.cells["one"], "hoe.png"]
    assert second.cells == {"one": "hoe.png", "many": []}


def test_a_dotted_path_reads_fields_and_a_whole_name_comes_first() -> None:
    cells = {"a": {"b": [{"c": 1}, {"c": 2}]}, "a.d": 3}
    assert find(cells, "a.b.1.c") == 2
    assert find(cells, "a.d") == 3
    assert find(cells, "a.b.2.c") is None
    assert find(cells, "a.b.c") is None


def test_columns_are_told_with_the_fields_inside(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"q": "Dig?", "half": {"img": 1}}\n{"more": 2, "empty": {}}')
    assert columns_of(read_rows(path)) == ["q", "half.img", "more", "empty"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.txt", "x", r"form is not known by the ending.*\.json, \.jsonl, \.csv, \.parquet"),
        ("rows.json", "[]", "holds no rows"),
        ("rows.json", '"Dig?"', "neither a list nor an object of rows"),
        ("rows.json", '["Dig?"]', "record 0: no object with columns"),
        ("rows.json", '{"first": 3}', "record first: no object with columns"),
        ("rows.jsonl", '{"q": 1}\n[2]', "line 2: no object with columns"),
        ("rows.jsonl", '{"q": NaN}', "line 1: cannot be read as JSON"),
        ("rows.csv", "", "holds no rows"),
        ("rows.csv", 'q\n"Dig', "a quote is opened and never closed"),
        ("rows.parquet", "PAR?", "cannot be read as Parquet"),
    ],
)
def test_files_that_cannot_be_read_are_named(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UserError, match=message) as found:
        read_rows(path)
    assert name in str(found.value)
