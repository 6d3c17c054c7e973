"""Where benchmark data come from, and reading them without surprises.

Data come from a local folder in the authors' layout (`-T data_dir=`, or the
benchmark's folder below `VLMGUARD_DATA`) or from the Hugging Face hub, whose
files are downloaded into the same layout. Nothing is downloaded where a local
folder was named.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, StringConstraints, ValidationError

from vlmguard.guard import files
from vlmguard.guard.cards import Card
from vlmguard.guard.data_source import DATA_ROOT, Source, local
from vlmguard.guard.downloads import downloads_allowed
from vlmguard.guard.errors import MissingData, UserError, check_choice, first_fault
from vlmguard.guard.images.decoding import Colour
from vlmguard.guard.images.prepare import DEFAULT_RULES, ImageRules
from vlmguard.guard.paths import user_path
from vlmguard.guard.text.untrusted import well_formed

__all__ = [
    "Text",
    "locate",
    "parse_records",
    "read_csv",
    "read_json",
]

_AGAIN: Final = "Download it again."


def _well_formed(value: object) -> object:
    return well_formed(value) if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_well_formed), StringConstraints(pattern=r"\S")]
"""A string that is not blank; halves of characters, at which requests fail, are replaced."""

R = TypeVar("R", bound=BaseModel)


def locate(
    card: Card,
    data_dir: str | None = None,
    revision: str | None = None,
    images: ImageRules = DEFAULT_RULES,
) -> Source:
    """Find a benchmark's data: `data_dir`, then `VLMGUARD_DATA`, then the hub.

    Args:
        card: The benchmark.
        data_dir: The benchmark's own folder.
        revision: Hub branch, tag or commit; asks for the hub even where a
            local folder exists.
        images: How to take in its pictures (`-T colour=`, `-T fit_images=`).

    Returns:
        The data's place and origin.

    Raises:
        UserError: Nothing was found (`MissingData`; the message says where to get the data), or
            options exclude each other.
    """
    if data_dir and revision:
        raise UserError("-T data_dir= and -T revision= exclude each other: local folder or hub.")
    check_choice("-T colour", images.colour, get_args(Colour))
    if data_dir:
        return local(card, user_path(data_dir), images)
    root = os.environ.get(DATA_ROOT)
    if root and not revision and (user_path(root) / card.name).is_dir():
        return local(card, user_path(root) / card.name, images)
    if card.hub is None:
        if revision:
            raise UserError(f"{card.title} has no official hub repository. {card.obtain}")
        raise MissingData(
            f"{card.title}: no data found (no -T data_dir=, no folder {card.name} below "
            f"{DATA_ROOT}={root or '(not set)'}). {card.obtain}"
        )
    # Imported on demand: a run on local data needs no hub client.
    from vlmguard.tasks.data.hub import download

    folder, sha = download(card, revision, fetch=downloads_allowed())
    # Files of a hub snapshot are links into the repository's cache folder.
    boundary = folder.parent.parent.resolve()
    return Source(card, folder, boundary, f"hub:{card.hub}@{sha}", images)


def read_json(path: Path) -> Any:
    """Read a JSON file of records.

    Args:
        path: The file.

    Returns:
        A list or an object, with at least one entry.

    Raises:
        UserError: Unreadable, no JSON, an object that holds a key twice, or no records.
    """
    content = files.read_json(path, _AGAIN)
    if not isinstance(content, list | dict) or not content:
        raise UserError(f"{path}: holds no records. {_AGAIN}")
    return content


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read a CSV file with a header line.

    Args:
        path: The file, UTF-8.

    Returns:
        A dictionary for each row.

    Raises:
        UserError: Unreadable, or a column occurs twice.
    """
    return [row for _, row in files.read_csv(path, _AGAIN)[1]]


def parse_records(rows: Iterable[tuple[str, Any]], model: type[R], path: Path) -> list[R]:
    """Check records against their schema.

    Args:
        rows: Name and content of each record.
        model: The schema.
        path: The file, for the message.

    Returns:
        The records.

    Raises:
        UserError: A field is missing, blank, or of the wrong type; names file,
            record and field.
    """
    records = []
    for name, row in rows:
        try:
            records.append(model.model_validate(row, strict=True))
        except ValidationError as error:
            field, said = first_fault(error)
            raise UserError(
                f"{path}: {name}: field '{field or 'record'}': {said}. Correct the record, or "
                f"download the file again."
            ) from error
    return records
