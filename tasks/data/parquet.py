"""Reading questions and images out of the hub's Parquet files."""

from pathlib import Path

from vlmguard.guard.errors import UserError
from vlmguard.guard.packed_images import image_file, read_parquet

__all__ = ["read_questions"]


def read_questions(path: Path, *, images: bool) -> list[tuple[str, str, Path | None]]:
    """Read the questions of a file, and their images where they are wanted.

    Args:
        path: Parquet file with the columns `id`, `question` and `image`.
        images: Whether to give the images files, which lie below the user's cache folder.

    Returns:
        For each row its id (a number without leading zeros), its question, and the file of its
        image; one that does not exist where the row has no image.

    Raises:
        UserError: Unreadable, a column is missing, an id or question is unusable, or an image
            cannot be written.
    """
    columns = ["id", "question", "image"] if images else ["id", "question"]
    found = []
    for number, row in enumerate(read_parquet(path, columns)):
        question = row["question"]
        if not isinstance(question, str) or not question.strip():
            raise UserError(f"{path}: row {number}: no question. Download the file again.")
        image = image_file(row["image"], path, number) if images else None
        found.append((_plain_id(row["id"], number, path), question, image))
    return found


def _plain_id(raw: object, number: int, path: Path) -> str:
    if not str(raw).isascii() or not str(raw).isdigit():
        raise UserError(f"{path}: row {number}: the id {raw!r} is no number. Correct the row.")
    return str(int(str(raw)))
