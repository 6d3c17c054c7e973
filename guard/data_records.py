"""Reads records of data files, names them for messages, and checks them against a schema."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, StringConstraints, ValidationError

from vlmguard.guard.errors import UserError, first_fault
from vlmguard.guard.files import read_csv, read_json, read_json_lines
from vlmguard.guard.text.untrusted import well_formed

__all__ = [
    "AGAIN",
    "Text",
    "named_records",
    "numbered_records",
    "parse_records",
    "read_records",
]

AGAIN: Final = "Download it again."
"""The remedy for a published file that is damaged."""


def _well_formed(value: object) -> object:
    return well_formed(value) if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_well_formed), StringConstraints(pattern=r"\S")]
"""A string that is not blank; half characters, which requests cannot carry, are replaced."""

R = TypeVar("R", bound=BaseModel)


def read_records(path: Path, model: type[R]) -> list[R]:
    """Read a file of records and check each.

    Args:
        path: The file, see `named_records`.
        model: The schema.

    Raises:
        UserError: As for `named_records` and `parse_records`.
    """
    return parse_records(named_records(path), model, path)


def named_records(path: Path, form: str | None = None) -> list[tuple[str, Any]]:
    """Read a file of records.

    Args:
        path: The file.
        form: `.csv` with a header (`row 1`, ...), `.jsonl` (`line 1`, ...), or else a JSON list
            (`record 0`, ...); by default the suffix of the path.

    Returns:
        Name and content of each record, at least one.

    Raises:
        UserError: The file cannot be read, is not a list, or holds no record.
    """
    records: list[tuple[str, Any]]
    form = form or path.suffix
    if form == ".csv":
        rows = read_csv(path, AGAIN)[1]
        records = [(f"row {number}", row) for number, (_, row) in enumerate(rows, start=1)]
    elif form == ".jsonl":
        records = [(f"line {number}", record) for number, record in read_json_lines(path)]
    else:
        content = read_json(path, AGAIN)
        listed = content if isinstance(content, list) else []
        records = [(f"record {number}", record) for number, record in enumerate(listed)]
    if not records:
        raise UserError(f"{path}: holds no records (a list is needed). {AGAIN}")
    return records


def numbered_records(path: Path) -> list[tuple[str, Any]]:
    """Read a JSON file that is a dictionary of records by number.

    Args:
        path: The file.

    Returns:
        Number (digits) and content of each record, at least one, in the order of numbers.

    Raises:
        UserError: The file cannot be read or is no dictionary of records, or a key is no number.
    """
    content = read_json(path, AGAIN)
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: not a dictionary of records by number. {AGAIN}")
    wrong = next((key for key in content if not (key.isascii() and key.isdigit())), None)
    if wrong is not None:
        raise UserError(f"{path}: the id {wrong!r} is no number. Correct the record.")
    return sorted(content.items(), key=lambda record: int(record[0]))


def parse_records(
    rows: Iterable[tuple[str, Any]], model: type[R], path: Path, *, strict: bool = True
) -> list[R]:
    """Check records against their schema.

    Args:
        rows: Name and content of each record.
        model: The schema.
        path: The file, for the message.
        strict: Refuse values of another type even if they could be converted.

    Raises:
        UserError: A field is missing, blank, or of the wrong type; names file, record and field.
    """
    records = []
    for name, row in rows:
        try:
            records.append(model.model_validate(row, strict=strict))
        except ValidationError as error:
            field, said = first_fault(error)
            raise UserError(
                f"{path}: {name}: field '{field or 'record'}': {said}. Correct the record, or "
                f"download the file again."
            ) from error
    return records
