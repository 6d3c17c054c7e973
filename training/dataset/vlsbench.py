"""VLSBench as a test set: the only known test set that is not a benchmark of the suite.

This file goes when VLSBench has a card: a card of this name is used instead of it.
"""

from pathlib import Path
from typing import Final

from vlmguard.guard.data_records import read_records
from vlmguard.training.dataset.items import Item
from vlmguard.training.synthesis.sources import VLSBenchItem

NAME: Final = "vlsbench"


def read_vlsbench(folder: Path) -> list[Item]:
    """Read its items.

    Args:
        folder: Its folder, with `data.json` beside `imgs/`.

    Returns:
        Its items; empty if `data.json` is missing.

    Raises:
        UserError: `data.json` cannot be read, or a record lacks a field.
    """
    path = folder / "data.json"
    if not path.exists():
        return []
    return [
        Item(
            f"{NAME}-test/{record.instruction_id}",
            f"{NAME}/{record.image_path}",
            record.instruction,
            folder / record.image_path,
        )
        for record in read_records(path, VLSBenchItem)
    ]
