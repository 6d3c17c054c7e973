"""VLSBench as a test set: the one known test set that is no benchmark of the suite.

This file goes when VLSBench has a card: a card of this name is used instead of it.
"""

from pathlib import Path
from typing import Final

from vlmguard.guard.errors import UserError
from vlmguard.guard.files import read_json
from vlmguard.training.dataset.items import Item

NAME: Final = "vlsbench"


def read_vlsbench(folder: Path) -> list[Item]:
    """Read its items.

    Args:
        folder: Its folder, with `data.json` beside `imgs/`.

    Returns:
        Its items; none if `data.json` is not there.

    Raises:
        UserError: `data.json` cannot be read, or a record lacks a field.
    """
    path = folder / "data.json"
    if not path.exists():
        return []
    try:
        return [
            Item(
                f"{NAME}-test/{row['instruction_id']}",
                f"{NAME}/{row['image_path']}",
                row["instruction"],
                folder / row["image_path"],
            )
            for row in read_json(path, "Download it again.")
        ]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{path}: not the layout of {NAME} ({error!r}). Correct the file, or remove the folder."
        ) from error
