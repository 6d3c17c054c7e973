"""Logs of the synthesis with many rows, written in seconds from one that was really made."""

import base64
import json
import random
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

# Inspect compresses logs by a method that the standard library learns from it.
from inspect_ai._util import zipfile as _zipfile
from PIL import Image, ImageDraw
from support.synthesis import draw_image, raw_row, run_file

assert _zipfile

WORDS = [
    f"{first}{second}"
    for first in ("lad", "shel", "stor", "win", "gar", "kit", "mar", "pol", "tre", "van")
    for second in ("der", "ves", "ing", "dow", "den", "chen", "ket", "ice", "es", "ish")
]


@dataclass(frozen=True)
class MadeRow:
    """A kept row, or one that was dropped for `reasons`."""

    id: str
    image: int
    original: str
    rewritten: str
    image_id: str = ""
    reasons: tuple[str, ...] = ()
    finished: bool = True


def template(folder: Path) -> Path:
    """A log of one row that was really made."""
    draw_image(folder / "images/0.png", 0)
    (folder / "rows.jsonl").write_text(json.dumps(raw_row(0)) + "\n")
    return run_file(folder / "rows.jsonl", folder)


def write_log(
    path: Path,
    made: Path,
    rows: Iterable[MadeRow],
    *,
    created: str = "2030-01-01T00:00:00+00:00",
    status: str = "success",
    metadata: Mapping[str, Any] | None = None,
    of_run: bool = True,
) -> Path:
    """Write a log of these rows, one by one.

    Args:
        path: The file.
        made: A log of one row, from `template`.
        rows: The rows.
        created: When it was begun.
        status: What became of it.
        metadata: Further metadata of its task.
        of_run: Whether it is a run of its own for Inspect.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(made) as source:
        members = {name: source.read(name) for name in source.namelist()}
    header = json.loads(members["header.json"])
    (sample,) = (json.loads(text) for name, text in members.items() if name.startswith("samples/"))
    (reference,) = {key for key in sample["attachments"] if key in json.dumps(sample["input"])}
    ids = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as log:
        for row in rows:
            ids.append(row.id)
            uri = image_uri(row.image)
            sample["id"] = row.id
            sample["events"] = []
            sample["messages"] = []
            sample["attachments"] = {reference: uri}
            sample["input"][0]["content"][1]["text"] = row.original
            sample["metadata"] |= {
                "image_id": row.image_id or f"made/{row.image}.png",
                "image_sha256": f"{row.image:064x}",
            }
            sample["metadata"]["synthesis"]["rewritten"] = row.rewritten
            score = sample["scores"]["keep"]
            score["metadata"] |= {"reasons": list(row.reasons), "original": row.original}
            whole = sample if row.finished else sample | {"scores": None}
            log.writestr(f"samples/{row.id}_epoch_1.json", json.dumps(whole), compresslevel=1)
        header["status"] = status
        header["eval"]["created"] = created
        if of_run:
            header["eval"]["eval_id"] = header["eval"]["run_id"] = path.stem
        header["eval"]["dataset"] |= {"samples": len(ids), "sample_ids": ids}
        header["eval"]["metadata"] |= metadata or {}
        start = {"version": header["version"], "eval": header["eval"], "plan": header["plan"]}
        log.writestr("_journal/start.json", json.dumps(start))
        log.writestr("header.json", json.dumps(header))
    return path


def mixed_rows(count: int, seed: int, images: int | None = None) -> list[MadeRow]:
    """Rows with all that an export must find: near-duplicates, shared images, reasons, failures."""
    drawn = random.Random(seed)
    rows: list[MadeRow] = []
    for number in range(count):
        asked = " ".join(drawn.choices(WORDS, k=drawn.randint(4, 24)))
        reply = f"{asked} please"
        if rows and drawn.random() < 0.3:
            # One word more or less than an earlier row, or the same.
            reply = drawn.choice(rows).rewritten
            reply = drawn.choice([reply, f"{reply} now", reply.upper(), reply.partition(" ")[2]])
        rows.append(
            MadeRow(
                id=f"made/{number}",
                image=drawn.randrange(images or max(1, count // 3)),
                original=asked if drawn.random() < 0.8 else drawn.choice(["describe it", reply]),
                rewritten=reply,
                reasons=("unchecked",) if drawn.random() < 0.05 else (),
                finished=drawn.random() > 0.03,
            )
        )
    return rows


_URIS: dict[int, str] = {}


def image_uri(number: int) -> str:
    """A picture of each number; of three in a row, the third is like the first, re-encoded."""
    if number not in _URIS:
        like = number - 2 if number % 3 == 2 else number
        drawn = random.Random(like)
        picture = Image.new("RGB", (48, 48), tuple(drawn.choices(range(256), k=3)))  # type: ignore[arg-type]
        draw = ImageDraw.Draw(picture)
        for _ in range(12):
            left, top = drawn.randrange(40), drawn.randrange(40)
            colour = tuple(drawn.choices(range(256), k=3))
            draw.rectangle((left, top, left + drawn.randint(4, 20), top + 8), fill=colour)
        buffer = BytesIO()
        kind = "jpeg" if like != number else "png"
        picture.save(buffer, format=kind)
        _URIS[number] = f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return _URIS[number]
