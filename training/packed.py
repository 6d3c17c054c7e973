"""Images that lie inside Parquet files: taken out when a row has been chosen, not before."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PackedImage:
    """An image inside a Parquet file, in its column `image`.

    Attributes:
        file: The Parquet file.
        row: Number of the row, from 0.
    """

    file: Path
    row: int


def unpack(images: Iterable[PackedImage]) -> dict[PackedImage, Path]:
    """Put packed images into files of their own, below the user's cache folder.

    Args:
        images: Which ones; each Parquet file is read once.

    Returns:
        The file of each image; rows whose image is empty lead to a path that
        does not exist.
    """
    # Imported on demand: only Parquet files need it.
    import pyarrow.parquet as pq

    wanted: dict[Path, set[int]] = defaultdict(set)
    for image in images:
        wanted[image.file].add(image.row)
    found: dict[PackedImage, Path] = {}
    for file, rows in wanted.items():
        number = 0
        for batch in pq.ParquetFile(file).iter_batches(batch_size=128, columns=["image"]):
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
        # Renamed when complete, or a full disk would leave half an image behind.
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(data)
        partial.replace(path)
    return path
