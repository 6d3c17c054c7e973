"""Reads the rows of a file in any of five forms; the same rows are the same in each."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vlmguard.guard.errors import UserError
from vlmguard.guard.files import parse_json, read_csv, read_json, read_json_lines
from vlmguard.guard.packed_images import image_file, read_parquet
from vlmguard.guard.text.untrusted import well_formed

__all__ = ["FORMS", "Row", "as_list", "as_text", "columns_of", "find", "holds", "read_rows"]

FORMS: Final = (".json", ".jsonl", ".csv", ".parquet")
"""Endings of the files: a JSON list or object of rows, JSON lines, CSV with a header, Parquet."""

_WAY_OUT: Final = "Correct or replace it."


@dataclass(frozen=True)
class Row:
    """A row of a file.

    Attributes:
        name: Its name for messages: `record 3`, `line 4`, `row 4`, or its key.
        number: Its place in the file, from 0.
        key: Its key, in a JSON object of rows.
        cells: Its values by column; a picture inside a Parquet file is a path.
    """

    name: str
    number: int
    key: str | None
    cells: Mapping[str, Any]


def read_rows(file: Path) -> list[Row]:
    """Read a file.

    Args:
        file: A file with one of the endings `FORMS`.

    Raises:
        UserError: Another ending, an unreadable file, one without rows, or a row without columns.
    """
    readers = {".json": _json, ".jsonl": _json_lines, ".csv": _csv, ".parquet": _parquet}
    if (read := readers.get(file.suffix.lower())) is None:
        raise UserError(
            f"{file}: the form is not known by the ending. Name it as what it is: "
            f"{', '.join(FORMS)}."
        )
    rows = []
    for number, (name, key, cells) in enumerate(read(file)):
        if not isinstance(cells, dict):
            raise UserError(f"{file}: {name}: no object with columns. Correct the record.")
        rows.append(Row(name, number, key, cells))
    if not rows:
        raise UserError(f"{file}: holds no rows. {_WAY_OUT}")
    return rows


def find(cells: Any, path: str) -> Any:
    """The value of a column, or None.

    Args:
        cells: A row's values.
        path: The column; `safe_pair.image` is a field inside one, `turns.0.text` one inside a list.
            A column with exactly this name comes first.
    """
    if isinstance(cells, Mapping) and path in cells:
        return cells[path]
    head, dot, rest = path.partition(".")
    if not dot:
        return cells[int(head)] if _is_place(cells, head) else None
    return find(find(cells, head), rest)


def holds(rows: list[Row], path: str) -> bool:
    """Whether any row has a column, whatever its value."""
    return any(_has(row.cells, path) for row in rows)


def columns_of(rows: list[Row]) -> list[str]:
    """All columns of a file, and the fields inside them, in the order in which they occur."""
    found: dict[str, None] = {}
    for row in rows:
        for name, value in row.cells.items():
            inner = value if isinstance(value, dict) else {}
            found.update(dict.fromkeys([f"{name}.{each}" for each in inner] or [name]))
    return list(found)


def as_text(value: Any) -> str:
    """A value as text, alike in each form (`true` is not `True`); empty if it is none, or NaN."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, float) and math.isnan(value):  # a data frame's cell without a value
        return ""
    return str(value) if isinstance(value, int | float) else ""


def as_list(value: Any, where: str) -> list[Any]:
    """A list, which a cell of a CSV file holds as JSON; empty if there is no value.

    Raises:
        UserError: It is no list.
    """
    if isinstance(value, str) and value.strip():
        value = parse_json(value, where)
    if value is None or value == "":
        return []
    if not isinstance(value, list):
        raise UserError(f"{where}: a list is needed. Correct the record.")
    return value


def _has(cells: Any, path: str) -> bool:
    if isinstance(cells, Mapping) and path in cells:
        return True
    head, dot, rest = path.partition(".")
    return _has(find(cells, head), rest) if dot else _is_place(cells, head)


def _is_place(cells: Any, name: str) -> bool:
    return isinstance(cells, list) and name.isdecimal() and int(name) < len(cells)


def _json(file: Path) -> Iterator[tuple[str, str | None, Any]]:
    content = read_json(file, _WAY_OUT)
    if isinstance(content, list):
        for number, cells in enumerate(content):
            yield f"record {number}", None, cells
    elif isinstance(content, dict):
        for key, cells in content.items():
            yield f"record {key}", key, cells
    else:
        raise UserError(f"{file}: neither a list nor an object of rows. {_WAY_OUT}")


def _json_lines(file: Path) -> Iterator[tuple[str, str | None, Any]]:
    for number, cells in read_json_lines(file):
        yield f"line {number}", None, cells


def _csv(file: Path) -> Iterator[tuple[str, str | None, Any]]:
    for number, (_, cells) in enumerate(read_csv(file)[1], start=1):
        yield f"row {number}", None, cells


def _parquet(file: Path) -> Iterator[tuple[str, str | None, Any]]:
    for number, cells in enumerate(read_parquet(file)):
        # Pictures go to files at once, or all of them would be in memory.
        yield (
            f"row {number}",
            None,
            {name: _without_bytes(value, file, number) for name, value in cells.items()},
        )


def _without_bytes(value: Any, file: Path, row: int) -> Any:
    """A value with files in place of pictures; one that is only named keeps its name."""
    if isinstance(value, list):
        return [_without_bytes(each, file, row) for each in value]
    if isinstance(value, dict) and value.keys() == {"bytes", "path"}:
        return image_file(value, file, row) if value["bytes"] else value["path"]
    return image_file(value, file, row) if isinstance(value, bytes) else value
