"""A benchmark's data on this machine: a folder in one of the layouts that its card accepts."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vlmguard.guard.cards import Card
from vlmguard.guard.errors import MissingData, UserError
from vlmguard.guard.images.prepare import DEFAULT_RULES, ImageRules
from vlmguard.guard.packed_images import image_cache
from vlmguard.guard.paths import leaves, missing, user_path

__all__ = ["DATA_ROOT", "MissingFile", "Source", "data_root", "file_hash", "local"]

DATA_ROOT: Final = "VLMGUARD_DATA"
"""Environment variable: the folder with a folder for each benchmark."""


class MissingFile(MissingData):
    """A file that a benchmark needs is missing."""


@dataclass(frozen=True)
class Source:
    """A benchmark's data on this machine.

    Attributes:
        card: The benchmark.
        root: Folder in one of the accepted layouts.
        boundary: Folder that no image path may leave (symlinks resolved).
        origin: `local`, or `hub:REPO@SHA`.
        images: How its pictures are prepared.
        partial: Whether some of a variant's files are enough: to compare with, not to evaluate.
    """

    card: Card
    root: Path
    boundary: Path
    origin: str
    images: ImageRules = DEFAULT_RULES
    partial: bool = False

    def first_existing(self, *candidates: str) -> Path:
        """The first of several paths that exists.

        Args:
            *candidates: Paths relative to the root.

        Raises:
            MissingFile: All are missing.
        """
        for candidate in candidates:
            if (self.root / candidate).exists():
                return self.root / candidate
        raise MissingFile(
            f"{self.card.title}: {' or '.join(candidates)} not found in {self.root}. "
            f"{self.card.how_to_get}",
            self.on_hub,
        )

    @property
    def on_hub(self) -> bool:
        """Whether the data came from the hub, where what is missing can be fetched."""
        return self.origin.startswith("hub:")

    def folder(self, *candidates: str) -> Path:
        """The first of several image folders that exists, or else the first one.

        A missing folder is not an error here: its images are reported one by one, and the texts are
        complete without them.

        Args:
            *candidates: Paths relative to the root.

        Returns:
            A path below the root.
        """
        places = [self.root / candidate for candidate in candidates]
        return next((place for place in places if place.is_dir()), places[0])

    def inside(self, path: Path, record: str) -> Path:
        """Refuse a path that leaves the data folder; images of Parquet files are in another folder.

        Args:
            path: Path built from a record's field.
            record: Name of the record, for the message.

        Returns:
            The path as it was given.

        Raises:
            UserError: The record's path is absolute, leaves by `..`, or is a symlink to another
                place.
        """
        if leaves(self.boundary, path, record) and leaves(image_cache().resolve(), path, record):
            raise UserError(
                f"{record}: {path} leaves the data folder {self.boundary}. Put the file itself "
                f"into the folder, or point -T data_dir= at the folder that holds it."
            )
        return path


def data_root(named: str | None = None) -> Path | None:
    """The folder with a folder for each benchmark, which need not exist.

    Args:
        named: The folder that the user named on the command line.

    Returns:
        That folder, or else the one that `DATA_ROOT` names, or else None.
    """
    root = named or os.environ.get(DATA_ROOT)
    return user_path(root) if root else None


def file_hash(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def local(
    card: Card, folder: Path, images: ImageRules = DEFAULT_RULES, *, partial: bool = False
) -> Source:
    """A benchmark's data in a local folder.

    Args:
        card: The benchmark.
        folder: The benchmark's own folder.
        images: How to prepare its pictures.
        partial: Whether some of a variant's files are enough.

    Raises:
        MissingData: There is no such folder.
    """
    if not folder.is_dir():
        raise MissingData(f"{card.title}: {missing(folder, 'folder')} {card.how_to_get}")
    return Source(card, folder, folder.resolve(), "local", images, partial)
