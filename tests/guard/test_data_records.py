"""Records of data files: each format, and messages that name file, record and field."""

import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from vlmguard.guard.data_records import Text, named_records, parse_records, read_records
from vlmguard.guard.errors import UserError


class Item(BaseModel):
    text: Text


def written(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content)
    return path


def test_records_are_named_as_in_their_file(tmp_path: Path) -> None:
    listed = written(tmp_path, "a.json", '[{"text": "x"}, {"text": "y"}]')
    assert named_records(listed) == [("record 0", {"text": "x"}), ("record 1", {"text": "y"})]
    lines = written(tmp_path, "a.jsonl", '{"text": "x"}\n\n{"text": "y"}\n')
    assert named_records(lines) == [("line 1", {"text": "x"}), ("line 3", {"text": "y"})]
    table = written(tmp_path, "a.csv", "text\nx\ny\n")
    assert named_records(table) == [("row 1", {"text": "x"}), ("row 2", {"text": "y"})]
    for path in (listed, lines, table):
        assert [item.text for item in read_records(path, Item)] == ["x", "y"]


def test_the_form_may_be_told_where_the_suffix_does_not_tell_it(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.txt", '{"text": "x"}\n{"text": "y"}\n')
    assert [name for name, _ in named_records(path, ".jsonl")] == ["line 1", "line 2"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.json", "[]"), ("a.json", '{"text": "x"}'), ("a.jsonl", "\n"), ("a.csv", "text\n")],
)
def test_a_file_without_records_is_refused(tmp_path: Path, name: str, content: str) -> None:
    with pytest.raises(UserError, match=rf"{name}: holds no records"):
        named_records(written(tmp_path, name, content))


def test_a_wrong_record_is_named_with_its_field(tmp_path: Path) -> None:
    for row, message in (
        ({"text": " "}, "'text'"),
        ({}, "'text'"),
        ({"text": 7}, "'text'"),
        (7, "'record'"),
    ):
        path = written(tmp_path, "a.json", json.dumps([{"text": "x"}, row]))
        with pytest.raises(UserError, match=rf"a\.json: record 1: field {message}"):
            read_records(path, Item)


def test_values_are_converted_only_where_that_is_asked_for(tmp_path: Path) -> None:
    class Numbered(BaseModel):
        number: int

    rows = [("row 1", {"number": "7"})]
    with pytest.raises(UserError, match="row 1"):
        parse_records(rows, Numbered, tmp_path / "a.csv")
    (item,) = parse_records(rows, Numbered, tmp_path / "a.csv", strict=False)
    assert item.number == 7


def test_half_characters_in_records_are_replaced(tmp_path: Path) -> None:
    (item,) = parse_records([("record 0", {"text": "half \ud83d"})], Item, tmp_path / "a.json")
    assert item.text == "half \ufffd"
