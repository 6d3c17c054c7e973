"""POPE's files in the authors' layout and in the hub's, with drawn pictures."""

import json
from pathlib import Path
from typing import Any

from support.folders import draw_image
from support.parquet import packed_picture, write_parquet

STRATEGIES = ("random", "popular", "adversarial")


def questions(strategy: str, pictures: int) -> list[dict[str, Any]]:
    """Two lines for each picture: a lamp is there, and a kettle or the like is not."""
    absent = {"random": "boat", "popular": "chair", "adversarial": "kettle"}[strategy]
    return [
        {
            "question_id": 2 * number + place + 1,
            "image": f"COCO_val2014_{number:012}.jpg",
            "text": f"Is there a {thing} in the image?",
            "label": label,
        }
        for number in range(pictures)
        for place, (thing, label) in enumerate([("lamp", "yes"), (absent, "no")])
    ]


def write_pope(root: Path, pictures: int = 2) -> Path:
    """Write the three files of JSON lines, and COCO's folder; returns the folder."""
    for number in range(pictures):
        draw_image(root / "val2014" / f"COCO_val2014_{number:012}.jpg", 40 * number)
    for strategy in STRATEGIES:
        path = root / "output/coco" / f"coco_pope_{strategy}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(each) for each in questions(strategy, pictures)]
        path.write_text("\n".join(lines) + "\n")
    return root


def write_pope_parquet(root: Path, pictures: int = 2) -> Path:
    """Write the same as a row for each question, cut into two files; returns the folder."""
    rows = [
        {
            "id": str(number),
            "question_id": str(each["question_id"]),
            "question": each["text"],
            "answer": each["label"],
            "image_source": each["image"].removesuffix(".jpg"),
            "image": packed_picture(40 * ((each["question_id"] - 1) // 2)),
            "category": strategy,
        }
        for strategy in STRATEGIES
        for number, each in enumerate(questions(strategy, pictures))
    ]
    half = len(rows) // 2
    write_parquet(root / "data/test-00000-of-00002.parquet", rows[:half])
    write_parquet(root / "data/test-00001-of-00002.parquet", rows[half:])
    return root
