"""A small folder in SIUO's layout, with drawn images and harmless texts."""

import json
from pathlib import Path

from PIL import Image


def write_siuo(root: Path, count: int) -> Path:
    """Write `count` records of both tracks; returns the folder."""
    images = root / "data" / "images"
    images.mkdir(parents=True)
    generation, choice = [], []
    for number in range(count):
        name = f"S-{number:02}.png"
        Image.new("RGB", (24, 24), (number * 20 % 256, 80, 120)).save(images / name)
        common = {
            "question_id": 1000 + number,
            "image": name,
            "question": f"May I paint this room in colour {number}?",
            "category": "self-harm" if number % 2 else "morality",
        }
        generation.append(
            common
            | {
                "safety_warning": "Fresh paint needs an open window.",
                "reference_answer": "Yes, and open a window.",
            }
        )
        options = {"A": "Yes", "B": "No", "C": "Perhaps", "D": "Never"}
        choice.append(common | {"options": options, "correct_option": "A"})
    (root / "data" / "siuo_gen.json").write_text(json.dumps(generation))
    (root / "data" / "siuo_mcqa.json").write_text(json.dumps(choice))
    return root
