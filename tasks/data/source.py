"""Where benchmark data come from, and reading them without surprises.

Data come from a local folder in the authors' layout (`-T data_dir=`, or the
benchmark's folder below `VLMGUARD_DATA`) or from the Hugging Face hub, whose
files are downloaded into the same layout. Nothing is downloaded where a local
folder was named.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, get_args

from inspect_ai.dataset import Sample
from pydantic import BaseModel, BeforeValidator, StringConstraints, ValidationError

from vlmguard.guard import files
from vlmguard.guard.downloads import downloads_allowed
from vlmguard.guard.errors import MissingData, UserError, check_choice, first_fault
from vlmguard.guard.images.decoding import Colour
from vlmguard.guard.images.prepare import DEFAULT_RULES, ImageRules
from vlmguard.guard.paths import leaves, user_path
from vlmguard.guard.text.untrusted import well_formed

__all__ = [
    "DATA_ROOT",
    "Card",
    "MissingFile",
    "Source",
    "Text",
    "file_hash",
    "local",
    "locate",
    "parse_records",
    "read_csv",
    "read_json",
]

DATA_ROOT: Final = "VLMGUARD_DATA"
_AGAIN: Final = "Download it again."


def _well_formed(value: object) -> object:
    return well_formed(value) if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_well_formed), StringConstraints(pattern=r"\S")]
"""A string that is not blank; halves of characters, at which requests fail, are replaced."""

R = TypeVar("R", bound=BaseModel)


class MissingFile(MissingData):
    """A file that a benchmark needs is not there."""


@dataclass(frozen=True)
class Card:
    """What a user must know to bring a benchmark's data, and what is complete.

    Attributes:
        name: Name of the task and of its folder below `VLMGUARD_DATA`.
        title: Name of the benchmark.
        license: Its license, with what is uncertain about it.
        gated: Whether the hub asks for a token and accepted terms.
        obtain: Where to get the files and where to put them.
        hub: Dataset repository on the hub, or None if there is no official one.
        hub_files: Patterns of the files needed from it.
        layouts: Accepted layouts, relative to the benchmark's folder.
        sha256: First 8 hex digits of the SHA-256 of known files.
        variants: Number of samples of each variant.
        load: Reads the samples of a variant from a folder; images are paths.
    """

    name: str
    title: str
    license: str
    gated: bool
    obtain: str
    hub: str | None
    hub_files: tuple[str, ...]
    layouts: tuple[str, ...]
    sha256: dict[str, str]
    variants: dict[str, int]
    load: Callable[["Source", str], list[Sample]] = field(repr=False)


@dataclass(frozen=True)
class Source:
    """A benchmark's data on this machine.

    Attributes:
        card: The benchmark.
        root: Folder in one of the accepted layouts.
        boundary: Folder that no image path may leave (symlinks resolved).
        origin: `local`, or `hub:REPO@SHA`.
        images: How its pictures are taken in.
    """

    card: Card
    root: Path
    boundary: Path
    origin: str
    images: ImageRules = DEFAULT_RULES

    def first_existing(self, *candidates: str) -> Path:
        """The first of several places that exists.

        Args:
            *candidates: Paths relative to the root.

        Returns:
            The existing path.

        Raises:
            MissingFile: None of them exists.
        """
        for candidate in candidates:
            if (self.root / candidate).exists():
                return self.root / candidate
        raise MissingFile(
            f"{self.card.title}: {' or '.join(candidates)} not found in {self.root}. "
            f"{self.card.obtain}"
        )

    def folder(self, *candidates: str) -> Path:
        """The first of several image folders that exists, or else the first one.

        A missing folder is no error here: its images are reported one by one,
        and the text is complete without them.

        Args:
            *candidates: Paths relative to the root.

        Returns:
            A path below the root.
        """
        places = [self.root / candidate for candidate in candidates]
        return next((place for place in places if place.is_dir()), places[0])

    def inside(self, path: Path, record: str) -> Path:
        """Refuse a path that leaves the data folder.

        Args:
            path: Path built from a record's field.
            record: Name of the record, for the message.

        Returns:
            The path as it was given.

        Raises:
            UserError: The path is absolute in the record, climbs out by `..`,
                or is a symlink to somewhere else.
        """
        if leaves(self.boundary, path, record):
            raise UserError(
                f"{record}: {path} leaves the data folder {self.boundary}. Put the file itself "
                f"into the folder, or point -T data_dir= at the folder that holds it."
            )
        return path


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
        UserError: Unreadable, or a column stands there twice.
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


def file_hash(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def local(card: Card, folder: Path, images: ImageRules = DEFAULT_RULES) -> Source:
    """A benchmark's data in a local folder.

    Args:
        card: The benchmark.
        folder: The benchmark's own folder.
        images: How to take in its pictures.

    Returns:
        The source.

    Raises:
        MissingData: There is no such folder.
    """
    if not folder.is_dir():
        raise MissingData(f"{card.title}: {folder} is no folder. {card.obtain}")
    return Source(card, folder, folder.resolve(), "local", images)
