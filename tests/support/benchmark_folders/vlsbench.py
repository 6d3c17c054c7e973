"""VLSBench's files in its authors' layout and in the hub's, with drawn pictures."""

from pathlib import Path
from typing import Any

from support.folders import draw_image, write_json
from support.parquet import packed_picture, write_parquet

ROOMS = ("Kitchen", "Garden")


def vlsbench_records(count: int) -> list[dict[str, Any]]:
    """Records of data.json: two categories with a sub-category each; two records a picture."""
    return [
        {
            "instruction_id": number,
            "instruction": f"May I use thing {number}?",
            "image_path": f"imgs/{number // 2}.png",
            "category": ROOMS[number % 2],
            "sub_category": f"{ROOMS[number % 2]} tools",
            "source": "drawn",
            "image_description": f"Thing {number}.",
            "safety_reason": f"Thing {number} is hot.",
        }
        for number in range(count)
    ]


def write_vlsbench(root: Path, count: int = 4) -> Path:
    """Write data.json and its pictures; returns the folder."""
    write_json(root / "data.json", vlsbench_records(count))
    for number in range((count + 1) // 2):
        draw_image(root / f"imgs/{number}.png", 40 * number)
    return root


def write_vlsbench_parquet(root: Path, count: int = 4) -> Path:
    """Write the same as two Parquet files with the pictures inside; returns the folder."""
    rows = []
    for number, record in enumerate(vlsbench_records(count)):
        row = {key: record[key] for key in record if key != "image_path"}
        rows.append({**row, "image": packed_picture(40 * (number // 2))})
    write_parquet(root / "data/train-00000-of-00002.parquet", rows[:1])
    write_parquet(root / "data/train-00001-of-00002.parquet", rows[1:])
    return root
