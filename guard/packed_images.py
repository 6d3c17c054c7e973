"""Parquet files with images inside: reads their rows, and writes their images to files.

The files are in the user's cache folder and are named by their content. So nothing is written
beside the user's data, an image is written once, and an existing file is never out of date.
"""

import hashlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

from vlmguard.guard.errors import UserError, reason_of

__all__ = ["image_cache", "image_file", "read_parquet"]

_SUFFIXES: Final = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp"}
_BATCH: Final = 32


def read_parquet(
    file: Path, columns: Collection[str] = (), without: Collection[str] = ()
) -> Iterator[dict[str, Any]]:
    """Read a Parquet file, a few rows at a time.

    Args:
        file: The file.
        columns: The columns to read; empty for all.
        without: Columns to leave out (images take longest).

    Raises:
        UserError: Not a readable Parquet file, or a column is missing.
    """
    # Imported here, since only Parquet files need it.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as parquet:
            there = parquet.schema_arrow.names
            if missing := [name for name in columns if name not in there]:
                raise UserError(f"{file}: no column {', '.join(missing)}. Download it again.")
            wanted = [name for name in columns or there if name not in without]
            for batch in parquet.iter_batches(batch_size=_BATCH, columns=wanted):
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"{file}: cannot be read as Parquet ({reason_of(error)}). Download it again."
        ) from error


def image_file(cell: object, file: Path, row: int) -> Path:
    """A file with the image of a row, below the cache folder; written if it is missing.

    Args:
        cell: The row's image: encoded bytes, or a structure with the field `bytes`.
        file: The Parquet file.
        row: Number of the row, from 0.

    Returns:
        Its path, with the suffix of its format. If the row has no image, a path that does not
        exist, whose name says why.

    Raises:
        UserError: The cache folder cannot be written.
    """
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(data, bytes) or not data:
        return file.parent / f"(row {row} of {file.name} holds no image)"
    suffix = next((suffix for head, suffix in _SUFFIXES.items() if data.startswith(head)), ".bin")
    path = image_cache() / f"{hashlib.sha256(data).hexdigest()[:24]}{suffix}"
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Renamed when complete, or a full disk would leave half an image.
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        raise UserError(
            f"{path}: an image of {file.name} cannot be written there ({reason_of(error)}). "
            f"Make room, or let XDG_CACHE_HOME name a folder that can be written."
        ) from error
    return path


def image_cache() -> Path:
    """The folder of these files."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "vlmguard" / "images"
