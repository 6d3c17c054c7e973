"""Writes SPA-VL's test files, with harmless questions and drawn images."""

from pathlib import Path
from typing import Any

from support.parquet import packed_picture, write_parquet


def spa_vl_rows(subset: str, count: int = 3) -> list[dict[str, Any]]:
    """Rows of `harm` or `help`; the last character of a question is its number."""
    return [
        {
            "image": packed_picture(number),
            "question": f"How is this garden of {subset} {number}",
            "class1": "Plants" if number < 2 else "Tools",
            "class2": "Beds",
            "class3": "Roses",
        }
        for number in range(count)
    ]


def write_spa_vl(root: Path) -> Path:
    """Write both files; returns the folder."""
    for subset in ("harm", "help"):
        write_parquet(root / f"test/{subset}-00000-of-00001.parquet", spa_vl_rows(subset))
    return root
