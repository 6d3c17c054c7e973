"""What was fetched into a benchmark's folder, from where and at which commit: a small file there.

A later call reads it: it takes what is missing from the same commit, and asks no server if all
that a source had is there.
"""

from pathlib import Path
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from vlmguard.guard.errors import UserError, first_fault
from vlmguard.guard.files import read_json

__all__ = ["RECORD", "Fetched", "Record", "holds_data"]

RECORD: Final = "vlmguard-fetched.json"
"""Name of the file."""


class Fetched(BaseModel):
    """What a repository holds of a benchmark.

    Attributes:
        source: Address of the git repository, or name of the hub's.
        paths: What was asked for: files and folders, or patterns.
        commit: Its commit, 40 hex digits.
        files: The files that are needed of it, with their digests: SHA-256 (64 hex digits) of
            large files on the hub, else the SHA-1 that git gives a blob (40).
        unpacked: Archives among them whose files are in the folder instead, with these.
        lacking: Files and folders that the benchmark's card names, and that are not in the source.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    paths: tuple[str, ...]
    commit: str
    files: dict[str, str]
    unpacked: dict[str, tuple[str, ...]] = {}
    lacking: tuple[str, ...] = ()

    def fits(self, source: str, paths: tuple[str, ...], commit: str) -> bool:
        """Whether it is about these files of this source, at this commit (short, or empty: any)."""
        asked = (self.source, self.paths) == (source, paths)
        return asked and self.commit.startswith(commit)


class Record(BaseModel):
    """The content of the file.

    Attributes:
        git: From the authors' git repository.
        hub: From the hub.
        dead: Why a linked picture could not be fetched, by its file name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    git: Fetched | None = None
    hub: Fetched | None = None
    dead: dict[str, str] = {}

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the file of a folder; without one, nothing was fetched.

        Raises:
            UserError: It cannot be read.
        """
        path = folder / RECORD
        if not path.exists():
            return cls()
        way_out = "Delete it and fetch the data again: files that are there stay."
        try:
            return cls.model_validate(read_json(path, way_out))
        except ValidationError as error:
            where, reason = first_fault(error)
            raise UserError(f"{path}: {where}: {reason}. {way_out}") from error

    def write(self, folder: Path) -> None:
        """Write the file, whole or not at all."""
        part = folder / f".{RECORD}"
        part.write_text(self.model_dump_json(indent=1), encoding="utf-8")
        part.replace(folder / RECORD)


def holds_data(folder: Path) -> bool:
    """Whether a folder holds anything besides this file and empty folders."""
    own = (RECORD, f".{RECORD}")
    return any(
        each.is_symlink() or not (each.is_dir() or each.name in own) for each in folder.rglob("*")
    )
