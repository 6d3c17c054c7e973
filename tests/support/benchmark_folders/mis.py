"""MIS's files in the authors' layout, with drawn pictures and harmless questions."""

from pathlib import Path
from typing import Any

from support.folders import draw_image, write_json

SPLITS = ("easy", "hard", "real")
CATEGORIES = ("Kitchen", "Garden")


def records(split: str, count: int) -> list[dict[str, Any]]:
    """Records of mis_SPLIT.json; categories alternate."""
    return [
        {
            "id": number,
            "question": f"How do these two go together in {split} {number}?",
            "category": CATEGORIES[number % 2],
            "sub_category": f"{CATEGORIES[number % 2]} things",
            "image_path1": f"{split}_image/{number}/object1.png",
            "image_path2": f"./MIS_Test/{split}_image/{number}/object2.png",
        }
        for number in range(count)
    ]


def write_mis(root: Path, count: int = 2) -> Path:
    """Write `count` questions a split with two pictures each; returns the folder."""
    for place, split in enumerate(SPLITS):
        write_json(root / f"mis_{split}.json", records(split, count))
        for number in range(count):
            for picture in (1, 2):
                path = root / f"{split}_image/{number}/object{picture}.png"
                draw_image(path, 70 * place + 10 * number + picture)
    return root
