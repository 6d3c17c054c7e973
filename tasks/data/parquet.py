"""Reading records and their images out of the hub's Parquet files."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from inspect_ai.model import ChatMessage
from pydantic import BaseModel

from vlmguard.guard.data_records import parse_records
from vlmguard.guard.data_source import MissingFile, Source
from vlmguard.guard.packed_images import image_file, read_parquet
from vlmguard.tasks.data.dataset import user_input

__all__ = ["Row", "parquet_files", "read_rows"]

R = TypeVar("R", bound=BaseModel)


@dataclass(frozen=True)
class Row(Generic[R]):
    """A row of Parquet files.

    Attributes:
        number: Its place in all of the files, from 0; an id for rows that have none.
        item: Its checked columns.
        image: The file of its image, which does not exist if the row has none; None if no images
            were wanted.
    """

    number: int
    item: R
    image: Path | None

    def input(self, text: str) -> list[ChatMessage]:
        """A sample's input: the image, then a text."""
        return user_input(text, *([self.image] if self.image else []))

    @property
    def image_id(self) -> str:
        """The name of the image's file, which is made of its content: equal pictures share it."""
        return self.image.name if self.image else ""


def parquet_files(source: Source, *patterns: str) -> list[Path]:
    """The files of a split, in the order of their names: the hub cuts large ones into several.

    Args:
        source: The data.
        *patterns: Globs relative to the root, one for each accepted layout; the first that finds a
            file counts.

    Raises:
        MissingFile: None of them finds a file.
    """
    for pattern in patterns:
        if found := sorted(source.root.glob(pattern)):
            return found
    raise MissingFile(
        f"{source.card.title}: {' or '.join(patterns)} not found in {source.root}. "
        f"{source.card.obtain}",
        source.on_hub,
    )


def read_rows(
    files: Iterable[Path], model: type[R], *, image: str = "image", images: bool = True
) -> list[Row[R]]:
    """Read the rows of files, and give their images files.

    Args:
        files: The files of a split, in order.
        model: The schema of the columns that are wanted, besides the image's.
        image: The column with the image.
        images: Whether the images are wanted, which take longest.

    Raises:
        UserError: A file cannot be read or lacks a column, a value is unusable (file, row and
            column are named), or an image cannot be written.
    """
    columns = [field.alias or name for name, field in model.model_fields.items()]
    found: list[Row[R]] = []
    for file in files:
        wanted = [*columns, image] if images else columns
        for number, row in enumerate(read_parquet(file, wanted)):
            (item,) = parse_records([(f"row {number}", row)], model, file)
            place = image_file(row[image], file, number) if images else None
            found.append(Row(len(found), item, place))
    return found
