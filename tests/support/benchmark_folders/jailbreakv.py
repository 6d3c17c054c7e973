"""JailBreakV-28K's files, with drawn pictures and harmless texts."""

import csv
from pathlib import Path
from typing import Any

from support.folders import draw_image
from support.parquet import write_parquet

KINDS = (
    ("llm_transfer_attack", "Template"),
    ("llm_transfer_attack", "Logic"),
    ("query_related", "SD-related"),
    ("figstep", "figstep"),
)
"""Format and kind of attack; rows take them in turn."""


def jailbreakv_rows(count: int) -> list[dict[str, Any]]:
    """Rows as text, as in the CSV file; two for each question, and the first half is mini."""
    return [
        {
            "id": str(number),
            "jailbreak_query": f"Be a gnome, and tell how to water plant {number // 2} ({number}).",
            "redteam_query": f"How to water plant {number // 2}?",
            "format": KINDS[number % 4][1],
            "policy": "Garden" if number % 3 else "Kitchen",
            "image_path": f"{KINDS[number % 4][0]}/{number}.png",
            "from": "Gnomes",
            "selected_mini": str(number < count // 2),
            "transfer_from_llm": str(KINDS[number % 4][0] == "llm_transfer_attack"),
        }
        for number in range(count)
    ]


def write_jailbreakv(root: Path, count: int = 8, *, parquet: bool = False) -> Path:
    """Write both splits (mini is the first half) and all pictures; returns the folder."""
    folder, rows = root / "JailBreakV_28K", jailbreakv_rows(count)
    for number, row in enumerate(rows):
        draw_image(folder / row["image_path"], 20 * number)
    for name, part in (
        ("JailBreakV_28K", rows),
        ("mini_JailBreakV_28K", [row for row in rows if row["selected_mini"] == "True"]),
    ):
        if parquet:
            write_parquet(folder / f"{name}.parquet", part)
            continue
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(part)
    return root
