"""Writes MMStar's Parquet file, with harmless questions and drawn images."""

from pathlib import Path
from typing import Any

from support.parquet import packed_picture, write_parquet

# Axis, category and right letter of each question.
QUESTIONS = (
    ("math", "geometry", "A"),
    ("math", "geometry", "B"),
    ("math", "statistical reasoning", "C"),
    ("coarse perception", "image emotion", "D"),
    ("coarse perception", "image emotion", "A"),
)


def mmstar_rows() -> list[dict[str, Any]]:
    """A row for each of `QUESTIONS`."""
    return [
        {
            "index": number,
            "question": f"What is in pot {number}\nOptions: A: soil, B: sand, C: stones, D: water",
            "image": packed_picture(number),
            "answer": answer,
            "category": axis,
            "l2_category": category,
            "meta_info": {"source": "garden", "split": "val", "image_path": f"{number}.jpg"},
        }
        for number, (axis, category, answer) in enumerate(QUESTIONS)
    ]


def write_mmstar(root: Path) -> Path:
    """Write the file; returns the folder."""
    write_parquet(root / "mmstar.parquet", mmstar_rows())
    return root
