"""Raw rows for the synthesis, in the form of rows that are collected in the real world.

    vlmguard microworld rows --out out/rows

writes `rows.jsonl` (pairs of the training split, each in several drawings and every wording, with a
careful and a careless answer), the drawings, and `held_out.jsonl` (the pairs of validation and
test, which `vlmguard export --test-set` keeps out of training).
"""

import base64
import json
from pathlib import Path
from typing import Any, Final

from vlmguard.guard.errors import UserError
from vlmguard.guard.progress import tracked
from vlmguard.training.microworld.world import language
from vlmguard.training.microworld.world.drawing import data_uri
from vlmguard.training.microworld.world.hazards import WORDINGS, Pair, Split, pairs

ROWS: Final = "rows.jsonl"
HELD_OUT: Final = "held_out.jsonl"

_DRAWINGS: Final = {"joint": 4, "visual": 8, "typographic": 12}
"""Drawings of each pair, a multiple of the wordings. `joint` has many more pairs than the others,
so it has fewer drawings of each. In every slice, half of the pairs are hazardous.
"""

_SEED: Final = 6 * 10**7
"""The seeds of these drawings are not used elsewhere."""


def write_rows(out: Path, split: Split = "train", drawings: int = 1) -> dict[str, int]:
    """Write rows, their images and the held-out pairs.

    Args:
        out: Folder to write into; must not hold rows yet.
        split: The split of the pairs.
        drawings: Multiplies the usual number of drawings (>= 1).

    Returns:
        Number of `hazardous` and `benign` rows and of `held_out` pairs.

    Raises:
        UserError: The folder already holds rows.
    """
    if (out / ROWS).exists():
        raise UserError(f"{out / ROWS} exists. Choose another folder, or remove it first.")
    if drawings < 1:
        raise UserError(f"--drawings {drawings}: choose 1 or more.")
    (out / "images").mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for pair in tracked([*pairs(split)], "drawing pairs"):
        for _ in range(drawings * _DRAWINGS[pair.slice]):
            rows.append(_row(pair, len(rows), out))
    held_out = [_held_out(pair) for name in ("validation", "test") for pair in pairs(name)]
    _write(out / HELD_OUT, held_out)
    # Written last: if this file exists, everything does.
    _write(out / ROWS, rows)
    benign = sum(row["benign"] for row in rows)
    return {"hazardous": len(rows) - benign, "benign": benign, "held_out": len(held_out)}


def pair_key(pair: Pair) -> str:
    """Identity of a pair, the same for all drawings and wordings."""
    return f"{pair.picture.name}: {pair.request.text}"


def _row(pair: Pair, number: int, out: Path) -> dict[str, Any]:
    uri = data_uri(pair.picture, _SEED + number)
    image = f"images/{pair.picture.name}-{number}.png"
    # The PNG bytes unchanged: their text field tells the reasoner what the picture shows.
    (out / image).write_bytes(base64.b64decode(uri.partition(",")[2]))
    plain = language.plain_answer(pair)
    answers = (
        {"safe": language.careful_answer(pair), "unsafe": plain}
        if pair.hazardous
        else {"safe": plain}
    )
    return {
        "id": number,
        "image": image,
        "prompt": WORDINGS[number % len(WORDINGS)].format(pair.request.text),
        **answers,
        "benign": not pair.hazardous,
        "pair": pair_key(pair),
    }


def _held_out(pair: Pair) -> dict[str, Any]:
    key = pair_key(pair)
    return {"id": key, "image_id": key, "prompt": pair.request.text, "pair": key}


def _write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
