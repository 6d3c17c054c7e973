"""Reading questions and images out of the hub's parquet files."""

from pathlib import Path
from typing import Any, Final

from vlmguard.guard.errors import UserError

__all__ = ["read_questions", "unpack_images"]

_SUFFIXES: Final = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp"}
_BATCH: Final = 32


def read_questions(path: Path) -> list[tuple[str, str]]:
    """Read the text columns of a file.

    Args:
        path: Parquet file with the columns `id` and `question`.

    Returns:
        Id (a number without leading zeros) and question of each row.

    Raises:
        UserError: Unreadable, a column is missing, or an id or question is unusable.
    """
    pairs = []
    for number, row in enumerate(_rows(path, "id", "question")):
        question = row["question"]
        if not isinstance(question, str) or not question.strip():
            raise UserError(f"{path}: row {number}: no question. Download the file again.")
        pairs.append((_plain_id(row["id"], number, path), question))
    return pairs


def unpack_images(path: Path, folder: Path) -> dict[str, Path]:
    """Write the images of a file into a folder, once.

    Args:
        path: Parquet file with the columns `id` and `image` (bytes in a struct).
        folder: Where the images go, named after their ids.

    Returns:
        Path of the image of each id.

    Raises:
        UserError: Unreadable, or the folder cannot be written.
    """
    images = _present(folder)
    done = folder / ".complete"
    if done.exists():
        return images
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, row in enumerate(_rows(path, "id", "image")):
            data = (row["image"] or {}).get("bytes")
            if data:
                suffix = next((s for head, s in _SUFFIXES.items() if data.startswith(head)), ".bin")
                (folder / f"{_plain_id(row['id'], number, path)}{suffix}").write_bytes(data)
        done.touch()
    except OSError as error:
        raise UserError(
            f"{folder}: the images of {path.name} cannot be written there ({error}). Make the "
            f"folder writable, or copy the data elsewhere."
        ) from error
    return _present(folder)


def _present(folder: Path) -> dict[str, Path]:
    return {file.stem: file for file in folder.glob("[0-9]*.*")}


def _rows(path: Path, *columns: str) -> Any:
    # Imported on demand: only data from the hub is in this format.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in columns if name not in file.schema_arrow.names]
            if missing:
                raise UserError(f"{path}: no column {', '.join(missing)}. Download it again.")
            for batch in file.iter_batches(batch_size=_BATCH, columns=list(columns)):
                yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise UserError(f"{path}: not a readable parquet file ({error}).") from error


def _plain_id(raw: object, number: int, path: Path) -> str:
    if not str(raw).isascii() or not str(raw).isdigit():
        raise UserError(f"{path}: row {number}: the id {raw!r} is no number.")
    return str(int(str(raw)))
