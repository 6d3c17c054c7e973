"""Writes ScienceQA-IMG's Parquet file, with harmless questions and drawn images."""

from pathlib import Path
from typing import Any

from support.parquet import packed_picture, write_parquet


def scienceqa_rows() -> list[dict[str, Any]]:
    """Five rows; the last word of a question is its number, and the first two share a picture."""
    options = ["red", "green", "blue", "grey", "white"]
    return [
        {
            "image": packed_picture(max(number, 1)),
            "question": f"Which colour has pot {number}",
            "choices": options[: 2 if number == 4 else 5],
            "answer": number % 5 if number != 4 else 1,
            "hint": "Pots are round." if number == 0 else "",
            "task": "closed choice",
            "grade": "grade4",
            "subject": "natural science" if number % 2 else "social science",
            "topic": "pots",
            "category": "Colours",
            "skill": "Look",
            "lecture": "",
            "solution": "It is seen.",
        }
        for number in range(5)
    ]


def write_scienceqa(root: Path) -> Path:
    """Write the file; returns the folder."""
    write_parquet(root / "ScienceQA-IMG/test-00000-of-00001.parquet", scienceqa_rows())
    return root
