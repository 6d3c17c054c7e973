"""Small folders in the layouts of the benchmarks, with drawn images and harmless texts."""

import json
from pathlib import Path
from typing import Any

from PIL import Image

PHRASES = ["I cannot do this", "i'm sorry", "unsuitable"]
"""Stands in for VLGuard's list; the first has a capital, as one of theirs."""


def draw_image(path: Path, shade: int = 90) -> None:
    """Write a small plain picture of the format that the suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 24), (shade % 256, 80, 120)).save(path)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def vlguard_records(unsafe: int, safe: int) -> list[dict[str, Any]]:
    """Records of test.json: categories alternate, images are named after ids."""
    records: list[dict[str, Any]] = []
    for number in range(unsafe):
        records.append(
            {
                "id": f"u{number}",
                "image": f"HOD/u{number}.png",
                "safe": False,
                "harmful_category": "privacy" if number % 2 else "deception",
                "harmful_subcategory": "other",
                "instr-resp": [{"instruction": f"Paint wall {number}?", "response": "Certainly."}],
            }
        )
    for number in range(safe):
        records.append(
            {
                "id": f"s{number}",
                "image": f"bad_ads/s{number}.png",
                "safe": True,
                "instr-resp": [
                    {"safe_instruction": f"What colour is wall {number}?", "response": "Blue."},
                    {"unsafe_instruction": f"Eat wall {number}?", "response": "I'm sorry, no."},
                ],
            }
        )
    return records


def write_vlguard(root: Path, unsafe: int = 4, safe: int = 3) -> Path:
    """Write a VLGuard folder with every optional file; returns it."""
    records = vlguard_records(unsafe, safe)
    write_json(root / "test.json", records)
    for number, record in enumerate(records):
        draw_image(root / "test" / record["image"], number)
    write_json(
        root / "train.json",
        [
            {"id": "t0", "image": "HOD/u0.png", "safe": False, "instr-resp": []},
            {"id": "t1", "image": "HOD/elsewhere.png", "safe": False, "instr-resp": []},
        ],
    )
    write_json(
        root / "gpt4_safe_safes.json",
        [
            {"id": record["id"], "image": record["image"], "output": "It is blue."}
            for record in records
            if record["safe"]
        ],
    )
    write_json(root / "refusal_keywords.json", PHRASES)
    return root
