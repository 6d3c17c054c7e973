"""Folders as `vlmguard export` writes them, made of synthetic rows."""

import json
from pathlib import Path
from typing import Any

import datasets
import torch
from PIL import Image
from safetensors.torch import load_file
from support.checkpoints import picture

from vlmguard.guard.rewriter.prompts import DIRECT_FORMAT, REASONING_FORMAT, REWRITE_TEMPLATE
from vlmguard.guard.templates import fill
from vlmguard.guard.text.untrusted import disarm

CONTENT = [{"type": datasets.Value("string"), "text": datasets.Value("string")}]
TURNS = [{"role": datasets.Value("string"), "content": CONTENT}]
FEATURES = datasets.Features(
    {
        "images": [datasets.Image()],
        "prompt": TURNS,
        "completion": TURNS,
        "id": datasets.Value("string"),
        "source": datasets.Value("string"),
        "benign": datasets.Value("bool"),
        "original": datasets.Value("string"),
        "rewritten": datasets.Value("string"),
        "reasoning": datasets.Value("string"),
        "image_id": datasets.Value("string"),
        "reasoner": datasets.Value("string"),
        "templates": datasets.Value("string"),
    }
)


def export_row(
    index: int,
    *,
    benign: bool = False,
    image: Image.Image | None = None,
    text: str | None = None,
    direct: bool = False,
) -> dict[str, Any]:
    """One row, in the rewriter's layout."""
    original = text or f"Describe the picture number {index}"
    rewritten = original if benign else f"{original} and be careful"
    reasoning = f"The picture shows blocks. The request is {'fine' if benign else 'risky'}."
    wanted = DIRECT_FORMAT if direct else REASONING_FORMAT
    asked = fill(REWRITE_TEMPLATE, conversation="", request=disarm(original), format=wanted)
    reply = f"<prompt>{rewritten}</prompt>"
    if not direct:
        reply = f"<reasoning>{reasoning}</reasoning>\n{reply}"
    return {
        "images": [image or picture(index)],
        "prompt": [
            {
                "role": "user",
                "content": [{"type": "image", "text": None}, {"type": "text", "text": asked}],
            }
        ],
        "completion": [{"role": "assistant", "content": [{"type": "text", "text": reply}]}],
        "id": f"made/{index}",
        "source": "made",
        "benign": benign,
        "original": original,
        "rewritten": rewritten,
        "reasoning": reasoning,
        "image_id": str(index),
        "reasoner": "made/up",
        "templates": "0123456789ab",
    }


def write_export(
    folder: Path,
    *,
    train: int = 8,
    validation: int = 4,
    rows: list[dict[str, Any]] | None = None,
    validation_rows: list[dict[str, Any]] | None = None,
    drop: str | None = None,
    direct: bool = False,
    leaks: dict[str, Any] | None = None,
) -> Path:
    """Write an export: every second row is benign."""
    made = [
        export_row(index, benign=index % 2 == 0, direct=direct)
        for index in range(train + validation)
    ]
    parts = {
        "train": made[:train] if rows is None else rows,
        "validation": made[train:] if validation_rows is None else validation_rows,
    }
    splits = {}
    for name, part in parts.items():
        columns = {column: [row[column] for row in part] for column in FEATURES}
        split = datasets.Dataset.from_dict(columns, features=FEATURES)
        splits[name] = split.remove_columns([drop]) if drop else split
    datasets.DatasetDict(splits).save_to_disk(folder)
    provenance = {
        "rows": {name: len(split) for name, split in splits.items()},
        "sources": {"made": train + validation},
        "targets": "direct" if direct else "reasoning",
        "rewriter_prompt": 1,
        "leaks": {"images": [], "pairs": [], "texts": []} if leaks is None else leaks,
    }
    (folder / "provenance.json").write_text(json.dumps(provenance))
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights that a run or a checkpoint left in a folder, or its adapter's."""
    (file,) = folder.glob("*model.safetensors")
    return load_file(file)
