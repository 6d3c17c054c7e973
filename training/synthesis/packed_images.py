"""Parquet files with images inside; images are taken out only for rows that are drawn."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmguard.guard.errors import UserError


@dataclass(frozen=True)
class PackedImage:
    """An image inside a Parquet file, in its column `image`.

    Attributes:
        file: The Parquet file.
        row: Number of the row, from 0.
    """

    file: Path
    row: int


def batches(file: Path, *, images: bool) -> Iterator[Any]:
    """Read a Parquet file.

    Args:
        file: The file.
        images: Whether to read its column `image`, or all other columns.

    Yields:
        Its rows, up to 128 at a time, as pyarrow's `RecordBatch`.

    Raises:
        UserError: Not a readable Parquet file.
    """
    # Imported here, since only Parquet files need it.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        parquet = pq.ParquetFile(file)
        columns = [name for name in parquet.schema_arrow.names if (name == "image") is images]
        yield from parquet.iter_batches(batch_size=128, columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"{file}: cannot be read as Parquet ({error}). Download it again."
        ) from error


def unpack(images: Iterable[PackedImage]) -> dict[PackedImage, Path]:
    """Write packed images to separate files, below the user's cache folder.

    Args:
        images: The images; each Parquet file is read once.

    Returns:
        The file of each image. For a row without an image, the path does not exist.

    Raises:
        UserError: A file cannot be read.
    """
    wanted: dict[Path, set[int]] = defaultdict(set)
    for image in images:
        wanted[image.file].add(image.row)
    found: dict[PackedImage, Path] = {}
    for file, rows in wanted.items():
        number = 0
        for batch in batches(file, images=True):
            column = batch.column("image")
            for index in range(len(column)):
                if number in rows:
                    data = (column[index].as_py() or {}).get("bytes")
                    found[PackedImage(file, number)] = _saved(data, file, number)
                number += 1
    return found


def _saved(data: bytes | None, file: Path, number: int) -> Path:
    if not data:
        return file.parent / f"(row {number} of {file.name} holds no image)"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    suffix = ".png" if data.startswith(b"\x89PNG") else ".jpg"
    path = cache / "vlmguard" / "images" / f"{hashlib.sha256(data).hexdigest()[:24]}{suffix}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Renamed when complete, or a full disk would leave half an image.
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(data)
        partial.replace(path)
    return path
