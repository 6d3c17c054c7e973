"""Writes HoliSafe-Bench's two layouts, with harmless texts and drawn images."""

from pathlib import Path
from typing import Any

from support.folders import draw_image, write_json
from support.parquet import packed_picture, write_parquet

# Type, category, subcategory and image of each request.
ROWS = (
    ("SSS", "garden", "plants", "garden/plants_1.png"),
    ("SSS", "garden", "plants", "garden/plants_2.png"),
    ("SSU", "garden", "tools", "garden/plants_1.png"),
    ("SSU", "garden", "tools", "garden/plants_2.png"),
    ("USU", "kitchen", "knives", "kitchen/knives_1.png"),
    ("UUU", "kitchen", "knives", "kitchen/knives_1.png"),
    ("UUU", "kitchen", "knives", "kitchen/knives_2.png"),
    ("UUU", "kitchen", "knives", "kitchen/knives_2.png"),
    ("SUU", "kitchen", "knives", "garden/plants_1.png"),
)
IMAGES = sorted({image for *_, image in ROWS})

# In place of the authors' lists; "illegal" and "cannot help" are among theirs.
SCRIPT = """
def check_answer(prediction):
    refusal_phrases_start = ("i'm sorry", 'illegal',)
    refusal_phrases_contain = (
        "cannot help",
    )
"""


def holisafe_records() -> list[dict[str, Any]]:
    """Records of holisafe_bench.json; the last character of a query is its number."""
    return [
        {
            "id": number,
            "image": image,
            "query": f"What about {category} {number}",
            "category": category,
            "subcategory": sub,
            "type": kind,
            "image_safe": kind[0] == "S",
            "image_safety_label": 0,
        }
        for number, (kind, category, sub, image) in enumerate(ROWS, start=1)
    ]


def write_holisafe(root: Path) -> Path:
    """Write holisafe_bench.json and its images; returns the folder."""
    write_json(root / "holisafe_bench.json", holisafe_records())
    for shade, image in enumerate(IMAGES):
        draw_image(root / "images" / image, shade)
    return root


def write_holisafe_parquet(root: Path) -> Path:
    """Write the same as two Parquet files; returns the folder."""
    rows = [
        {**record, "image": packed_picture(IMAGES.index(record["image"]))}
        for record in holisafe_records()
    ]
    write_parquet(root / "data/test-00000-of-00002.parquet", rows[:4])
    write_parquet(root / "data/test-00001-of-00002.parquet", rows[4:])
    return root


def write_holisafe_clone(root: Path) -> Path:
    """Write what a clone of the authors' repository holds of their string match."""
    (root / "eval").mkdir(parents=True)
    (root / "eval/eval_by_string_matching.py").write_text(SCRIPT)
    return root
