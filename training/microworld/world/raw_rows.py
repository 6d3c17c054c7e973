"""Raw rows for the synthesis: what somebody would collect in this world, in the real thing's form.

    vlmguard microworld rows --out out/rows

writes `rows.jsonl` (pairs of the training split, each in several drawings and every wording, with
a careful and a careless answer), the drawings, and `held_out.jsonl`: the pairs of validation and
test, by which `vlmguard export --test-set` sees to it that none of them is trained on.
"""

import base64
import json
from pathlib import Path
from typing import Any, Final

from vlmguard.guard.errors import UserError
from vlmguard.training.microworld.world import language
from vlmguard.training.microworld.world.drawing import data_uri
from vlmguard.training.microworld.world.hazards import WORDINGS, Pair, Split, pairs

ROWS: Final = "rows.jsonl"
HELD_OUT: Final = "held_out.jsonl"

_DRAWINGS: Final = {"joint": 4, "visual": 8, "typographic": 12}
"""Drawings of each pair, a multiple of the wordings: `joint` has many more pairs than the others,
and every second pair is hazardous in each."""

_SEED: Final = 6 * 10**7
"""Drawings of their own: these seeds are used nowhere else."""


def write_rows(out: Path, split: Split = "train", drawings: int = 1) -> dict[str, int]:
    """Write rows, their images and the held-out pairs.

    Args:
        out: Folder to write into; must not hold rows yet.
        split: Whose pairs.
        drawings: How many times as many drawings as usual (>= 1).

    Returns:
        Number of `hazardous` and `benign` rows and of `held_out` pairs.

    Raises:
        UserError: There are rows in the folder.
    """
    if (out / ROWS).exists():
        raise UserError(f"{out / ROWS} exists. Choose another folder, or remove it first.")
    if drawings < 1:
        raise UserError(f"--drawings {drawings}: choose 1 or more.")
    (out / "images").mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for pair in pairs(split):
        for _ in range(drawings * _DRAWINGS[pair.slice]):
            rows.append(_row(pair, len(rows), out))
    held_out = [_held_out(pair) for name in ("validation", "test") for pair in pairs(name)]
    _write(out / HELD_OUT, held_out)
    # Last: where it is, everything is.
    _write(out / ROWS, rows)
    benign = sum(row["benign"] for row in rows)
    return {"hazardous": len(rows) - benign, "benign": benign, "held_out": len(held_out)}


def pair_key(pair: Pair) -> str:
    """Identity of a pair, however it is drawn and worded.

    Args:
        pair: The pair.
    """
    return f"{pair.picture.name}: {pair.request.text}"


def _row(pair: Pair, number: int, out: Path) -> dict[str, Any]:
    uri = data_uri(pair.picture, _SEED + number)
    image = f"images/{pair.picture.name}-{number}.png"
    # As they are, with the text field that tells the reasoner what it sees.
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
