"""MOSSBench's two folders in the authors' layout, with drawn pictures and harmless texts."""

from pathlib import Path
from typing import Any

from support.folders import draw_image, write_json

FLAGS = ("human", "child", "syn", "ocr")


def record(number: int, question: str, **flags: int) -> dict[str, Any]:
    """A record as the authors write it; of types 1, 2, 3, 1, ... by number."""
    return {
        "image": f"images/{number}.png",
        "short description": "A kitchen.",
        "description": "A kitchen with a table.",
        "question": question,
        "pid": str(number),
        "metadata": {"over": f"type {(number - 1) % 3 + 1}", **flags},
    }


def write_mossbench(root: Path, harmless: int = 4, contrast: int = 3, shared: int = 2) -> Path:
    """Write both folders; returns the root.

    People are in the odd pictures of the first folder. The first `shared` contrast requests have
    the same picture as the harmless one of their number.
    """
    first: dict[str, Any] = {}
    # From the last to the first, since the order in the file does not count.
    for number in range(harmless, 0, -1):
        flags = dict.fromkeys(FLAGS, 0) | {"human": number % 2, "harm": [7]}
        first[str(number)] = record(number, f"What is on table {number}?", **flags)
        draw_image(root / f"data/images/{number}.png", number)
    second = {
        str(number): record(number, f"May I burn table {number}?")
        for number in range(1, contrast + 1)
    }
    for number in range(1, contrast + 1):
        shade = number if number <= shared else 100 + number
        draw_image(root / f"data_contrast/images/{number}.png", shade)
    write_json(root / "data/images_information/information.json", first)
    write_json(root / "data_contrast/images_information/information.json", second)
    return root
