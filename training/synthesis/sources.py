"""Reads raw training material: published train splits, and the user's own files.

`-T data=` names one source or several, separated by commas, each `KIND:PATH`:

- `vlguard:DIR` - `train.json` beside the images (also below `train/`). Its answers are
  refusals and helpful answers; an unsafe answer is never given (`-T responses=sample`).
  Safe images with their safe instruction are the benign rows: the paper's 977.
- `spa_vl:PATH` - a Parquet file or a folder of them, or JSON or JSONL with `image`, `question`,
  `chosen`, `rejected` (images below the file's folder or its `images/`). `rejected` is only less
  preferred: if the two answers do not differ in risk, the row is dropped as `no_risk_found`.
- `vlsbench:DIR` - `data.json` beside `imgs/`; no answers. These are the rows of a test set: a
  rewriter that was trained on them has no valid score there any more, and says so.
- `jsonl:FILE` - your own rows: `image` (path relative to the file), `prompt`, and, if you have
  them, `safe` and `unsafe` (answers), `benign` (true or false), `id`, `image_id`, `pair` (the
  subject of image and request, if one subject is drawn many times; for the leak check).
- `recorded:DIR` - traffic that `vlmguard serve --record DIR` kept: requests about one picture,
  without answers and without labels (`-T stages=analysis,rewrite`, or `-T responses=sample`).
  Nobody has said which are harmless; `"benign": true` in a line says so.

`KIND` alone means the folder of that name below `VLMGUARD_DATA`; a path that ends in
`.jsonl` needs no kind.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.data_records import Text, named_records, parse_records
from vlmguard.guard.data_source import DATA_ROOT, data_root
from vlmguard.guard.errors import UserError
from vlmguard.guard.packed_images import read_parquet
from vlmguard.guard.paths import inside, user_path
from vlmguard.guard.recordings import read_recordings
from vlmguard.training.synthesis.packed_images import PackedImage
from vlmguard.training.synthesis.record import Row

logger = logging.getLogger(__name__)


class OwnRow(BaseModel):
    """A row of the user's own file."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    image: Text
    prompt: str
    safe: str | None = None
    unsafe: str | None = None
    benign: bool = False
    id: str | None = None
    image_id: str | None = None
    pair: str | None = None


class VLGuardItem(BaseModel):
    """A record of VLGuard's train.json."""

    id: Text
    image: Text
    safe: bool
    turns: list[dict[str, str]] = Field(alias="instr-resp", min_length=1)


class PreferenceItem(BaseModel):
    """A record of SPA-VL."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    image: Text
    question: str
    chosen: str | None = None
    rejected: str | None = None


class VLSBenchItem(BaseModel):
    """A record of VLSBench's data.json."""

    instruction_id: int
    instruction: str
    image_path: Text


R = TypeVar("R", bound=BaseModel)


def read_sources(data: str | list[str]) -> list[Row]:
    """Read all sources.

    Args:
        data: `KIND:PATH`, `KIND` or a `.jsonl` path; or several, as a list or
            separated by commas.

    Returns:
        Their rows, in order.

    Raises:
        UserError: A source is unknown or missing, a record is wrong, an image path leaves its
            folder, or two rows share an id.
    """
    specs = data.split(",") if isinstance(data, str) else data
    rows: list[Row] = []
    seen: dict[str, str] = {}
    for spec in specs:
        for row in _read_one(spec.strip()):
            if row.id in seen:
                raise UserError(
                    f"-T data={spec.strip()}: the id {row.id} occurs twice (first in "
                    f"{seen[row.id]}). Change one of the ids, or rename one of two files of the "
                    f"same name."
                )
            seen[row.id] = spec.strip()
            rows.append(row)
    return rows


def _read_one(spec: str) -> list[Row]:
    kind, _, place = spec.partition(":")
    if kind not in READERS:
        if not spec.endswith(".jsonl"):
            raise UserError(
                f"-T data={spec} is not known.{did_you_mean(kind, READERS)} Choose "
                f"{', '.join(READERS)}, as KIND:PATH, or name a .jsonl file."
            )
        kind, place = jsonl.__name__, spec
    if not place:
        root = data_root()
        if root is None:
            raise UserError(f"-T data={kind}: say where it is ({kind}:PATH), or set {DATA_ROOT}.")
        place = str(root / kind)
    path = user_path(place)
    if not path.exists():
        raise UserError(f"-T data={spec}: {path} does not exist.")
    return READERS[kind](path, path.stem if kind == jsonl.__name__ else kind)


def jsonl(path: Path, source: str) -> list[Row]:
    """Rows of the user's own."""
    rows = []
    for name, item in _checked(path, OwnRow, ".jsonl"):
        rows.append(
            Row(
                id=f"{source}/{item.id or name.split()[-1]}",
                source=source,
                image=inside(path.parent, item.image, name),
                image_id=item.image_id or f"{source}/{item.image}",
                prompt=item.prompt,
                safe=item.safe,
                unsafe=item.unsafe,
                benign=item.benign,
                pair=item.pair,
            )
        )
    return rows


def vlguard(folder: Path, source: str) -> list[Row]:
    """VLGuard's train split."""
    path = folder / "train.json"
    images = folder / "train" if (folder / "train").is_dir() else folder
    rows = []
    # Numbered, since one id of the published file occurs twice.
    seen: Counter[str] = Counter()
    for name, item in _checked(path, VLGuardItem):
        where = f"{name} ({item.id})"
        seen[item.id] += 1
        again = f"~{seen[item.id]}" if seen[item.id] > 1 else ""
        for number, turn in enumerate(item.turns):
            benign = "safe_instruction" in turn
            key = next((k for k in turn if k.endswith("instruction")), None)
            if key is None:
                raise UserError(f"{where}: an entry of instr-resp holds no instruction.")
            rows.append(
                Row(
                    id=f"{source}/{item.id}{again}/{number}",
                    source=source,
                    image=inside(images, item.image, where),
                    image_id=f"{source}/{item.image}",
                    prompt=turn[key],
                    safe=turn.get("response"),
                    unsafe=None,
                    benign=benign,
                )
            )
    return rows


def spa_vl(path: Path, source: str) -> list[Row]:
    """SPA-VL's preferences."""
    parquet = sorted(path.glob("**/*.parquet")) if path.is_dir() else []
    if path.suffix == ".parquet":
        parquet = [path]
    if parquet:
        return [row for file in parquet for row in _spa_vl_parquet(file, source)]
    if path.is_dir():
        raise UserError(f"{path} holds no .parquet file. Name the JSON or JSONL file itself.")
    images = path.parent / "images" if (path.parent / "images").is_dir() else path.parent
    rows = []
    for name, item in _checked(path, PreferenceItem):
        rows.append(
            _preference(
                source,
                f"{path.stem}/{name.split()[-1]}",
                inside(images, item.image, name),
                item,
            )
        )
    return rows


def _spa_vl_parquet(path: Path, source: str) -> Iterator[Row]:
    # Only the texts: images are read later, for the rows that are drawn.
    named = (
        (f"row {number}", {**record, "image": record.get("image_name") or f"{path.stem}/{number}"})
        for number, record in enumerate(read_parquet(path, without=["image"]))
    )
    for number, item in enumerate(parse_records(named, PreferenceItem, path, strict=False)):
        yield _preference(source, f"{path.stem}/{number}", PackedImage(path, number), item)


def _preference(source: str, row_id: str, image: Path | PackedImage, item: PreferenceItem) -> Row:
    return Row(
        id=f"{source}/{row_id}",
        source=source,
        image=image,
        image_id=f"{source}/{item.image}",
        prompt=item.question,
        safe=item.chosen,
        unsafe=item.rejected,
        benign=False,
    )


def vlsbench(folder: Path, source: str) -> list[Row]:
    """VLSBench, which is then no test set."""
    path = folder / "data.json"
    return [
        Row(
            id=f"{source}/{item.instruction_id}",
            source=source,
            image=inside(folder, item.image_path, name),
            image_id=f"{source}/{item.image_path}",
            prompt=item.instruction,
            safe=None,
            unsafe=None,
            benign=False,
        )
        for name, item in _checked(path, VLSBenchItem)
    ]


def recorded(folder: Path, source: str) -> list[Row]:
    """Traffic that a server recorded."""
    found = read_recordings(folder)
    for torn in found.torn:
        logger.warning("%s; it is left out.", torn)
    rows = [
        Row(
            id=f"{source}/{request.id}",
            source=source,
            image=inside(folder, request.image, f"request {request.id}"),
            image_id=f"{source}/{request.image_id}",
            prompt=request.prompt,
            safe=None,
            unsafe=None,
            benign=bool(request.benign),
        )
        for request in found.requests
        if request.image is not None
    ]
    if others := len(found.requests) - len(rows):
        logger.warning(
            "%s: %s of %s requests are no rows (without a picture or a text, of several pictures, "
            "or with earlier turns).",
            *(folder, others, len(found.requests)),
        )
    return rows


READERS: Final[dict[str, Callable[[Path, str], list[Row]]]] = {
    reader.__name__: reader for reader in (vlguard, spa_vl, vlsbench, jsonl, recorded)
}
"""By kind: from a path and the name of the source to its rows, whose ids begin with that name."""

VOIDED: Final = frozenset({vlsbench.__name__})
"""Sources that are test sets, and have a card: a model trained on one has no valid score there."""


def _checked(path: Path, model: type[R], form: str | None = None) -> Iterator[tuple[str, R]]:
    """Name and content of each record of a file."""
    rows = named_records(path, form)
    names = (f"{path}: {name}" for name, _ in rows)
    return zip(names, parse_records(rows, model, path, strict=False), strict=True)
