"""Small pools of AdaShield's prompts, as `vlmguard pool` writes them."""

import base64
import json
from pathlib import Path
from typing import Any

from support.scripted import picture

ITEMS: list[dict[str, Any]] = [
    {"colour": "red", "query": "List the ways.", "prompt": "Mind weapons.", "scenario": "weapons"},
    {"colour": "blue", "query": "Who is this?", "prompt": "Mind privacy.", "scenario": "privacy"},
]


def write_pool(folder: Path, items: list[dict[str, Any]] | None = None) -> Path:
    """Write a pool; an item's `colour` is that of its image."""
    (folder / "images").mkdir(parents=True)
    lines = []
    for number, each in enumerate(ITEMS if items is None else items):
        item = dict(each)
        name = f"images/{number}.png"
        data = base64.b64decode(picture(item.pop("colour")).partition(",")[2])
        (folder / name).write_bytes(data)
        lines.append(json.dumps({"image": name, **item}))
    file = folder / "pool.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return file
