"""Reads the files that users name, within bounds; errors name the file and the way out.

JSON and CSV are read here, YAML in `yaml_files`. Some content is refused because it would be read
as something else without a word (keys and columns twice, `NaN`, an unclosed quote). Some is refused
because it would break the process (deep nesting, files without an end, archives that unpack to
gigabytes).
"""

import csv
import gzip
import io
import json
import math
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

from vlmguard.guard.errors import MissingFile, UserError, reason_of, short
from vlmguard.guard.paths import missing

__all__ = [
    "MAX_DEPTH",
    "parse_json",
    "read_bytes",
    "read_csv",
    "read_json",
    "read_json_lines",
    "read_text",
]

MAX_BYTES: Final = 2_000_000_000
MAX_UNPACKED: Final = 64_000_000
MAX_DEPTH: Final = 100
_CHUNK: Final = 1 << 20
_CELL: Final = 16_000_000
"""The most characters of a cell; some answers exceed the library's own limit."""


def read_bytes(path: Path, way_out: str = "Correct or replace it.") -> bytes:
    """Read a whole file.

    Args:
        path: The file; one that ends in `.gz` is unpacked.
        way_out: Last sentence of an error.

    Returns:
        Its bytes, at most `MAX_BYTES`; unpacked, at most `MAX_UNPACKED`.

    Raises:
        UserError: No such file, not a regular file, unreadable, too large, or damaged.
    """
    try:
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "no regular file"
            raise UserError(f"{path}: cannot be read (it is {kind}). {way_out}")
        with path.open("rb") as file:
            if path.suffix == ".gz":
                return _at_most(path, gzip.GzipFile(fileobj=file), MAX_UNPACKED, way_out)
            return _at_most(path, file, MAX_BYTES, way_out)
    except FileNotFoundError as error:
        end = "" if way_out.startswith("Correct") else f" {way_out}"  # of what is there
        raise MissingFile(f"{missing(path.absolute())}{end}") from error
    # ValueError: a NUL character in the path.
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UserError(f"{short(path)}: cannot be read ({reason_of(error)}). {way_out}") from error


def read_text(path: Path, way_out: str = "Correct or replace it.") -> str:
    """Read a text file in UTF-8, with or without a byte order mark.

    Args:
        path: The file.
        way_out: Last sentence of an error.

    Raises:
        UserError: As for `read_bytes`, or it is not UTF-8.
    """
    try:
        return read_bytes(path, way_out).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read as UTF-8 ({error.reason}). {way_out}") from error


def read_json(path: Path, way_out: str = "Correct or replace it.") -> Any:
    """Read a JSON file.

    Args:
        path: The file; unpacked if it ends in `.gz`.
        way_out: Last sentence of an error.

    Raises:
        UserError: As for `read_text` and `parse_json`.
    """
    return parse_json(read_text(path, way_out), str(path), way_out)


def read_json_lines(path: Path, way_out: str = "Correct it.") -> Iterator[tuple[int, Any]]:
    """Read a file with a JSON value on each line; blank lines are skipped.

    Args:
        path: The file.
        way_out: Last sentence of an error.

    Yields:
        The line number and the value.

    Raises:
        UserError: As for `read_text` and `parse_json`; names the line.
    """
    # Not splitlines(): JSON strings may hold U+2028, at which it would split.
    for number, line in enumerate(read_text(path, way_out).split("\n"), start=1):
        if line.strip():
            yield number, parse_json(line, f"{path}: line {number}", way_out)


def parse_json(text: str, where: str, way_out: str = "Correct it.") -> Any:
    """Parse JSON strictly.

    Args:
        text: The JSON.
        where: The name for it in an error.
        way_out: Last sentence of an error.

    Raises:
        UserError: Not JSON, a key occurs twice in an object, `NaN` and the like, a number out of
            range, or values nested more than `MAX_DEPTH` deep.
    """
    try:
        content = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_finite
        )
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else reason_of(error)
        raise UserError(f"{where}: cannot be read as JSON ({reason}). {way_out}") from error
    if _too_deep(content):
        raise UserError(f"{where}: cannot be read as JSON (nested too deep). {way_out}")
    return content


def read_csv(
    path: Path, way_out: str = "Correct it.", delimiters: str = ","
) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Read a CSV file with a header line.

    Args:
        path: The file, in UTF-8.
        way_out: Last sentence of an error.
        delimiters: Possible separators; the most frequent one in the header counts.

    Returns:
        The columns, and for each row the number of its last line (a cell may hold several) and its
        cells. Cells that are missing at the end are empty. Empty lines are skipped.

    Raises:
        UserError: As for `read_text`; a column occurs twice, a quote is not closed, or a row has
            more cells than the header.
    """
    text = read_text(path, way_out)
    head = text.partition("\n")[0]
    delimiter = max(delimiters, key=head.count)
    csv.field_size_limit(_CELL)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        header = next(lines, [])
        for row in lines:
            if len(row) > len(header):
                raise UserError(
                    f"{path}, line {lines.line_num}: {len(row)} cells under {len(header)} "
                    f"columns. {way_out}"
                )
            if row:
                cells = [*row, *[""] * (len(header) - len(row))]
                rows.append((lines.line_num, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        reason = str(error)
        if reason == "unexpected end of data":
            reason = "a quote is opened and never closed"
        raise UserError(
            f"{path}, line {lines.line_num}: cannot be read as CSV ({reason}). {way_out}"
        ) from error
    if twice := [name for name, number in Counter(header).items() if number > 1]:
        raise UserError(f"{path}: the column {twice[0]!r} occurs twice. {way_out}")
    return header, rows


def _at_most(path: Path, file: Any, limit: int, way_out: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := file.read(_CHUNK):
        parts.append(part)
        size += len(part)
        if size > limit:
            raise UserError(f"{path}: more than {limit // 1_000_000} MB of content. {way_out}")
    return b"".join(parts)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object; `json` itself would silently keep the last of several equal keys."""
    content = dict(pairs)
    if len(content) < len(pairs):
        key = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {key!r} occurs twice")
    return content


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is out of range")
    return number


def _too_deep(content: Any) -> bool:
    level = [content]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for each in level
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True
