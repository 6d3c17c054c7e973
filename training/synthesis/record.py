"""A row of raw training material, and the sample of the synthesis task made from it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspect_ai.dataset import Sample

from vlmguard.guard.errors import UserError
from vlmguard.guard.images.prepare import ImageError, PreparedImage
from vlmguard.guard.messages import user_message
from vlmguard.guard.shards import is_wanted
from vlmguard.training.dataset.similarity import normalise_text
from vlmguard.training.synthesis.packed_images import PackedImage, on_disk, unpack


@dataclass(frozen=True, slots=True)
class Row:
    """A request about an image, with answers to contrast.

    Attributes:
        id: Readable and unique (`vlguard/Ads_364812/0`).
        source: Its source (`vlguard`, `spa_vl`, `vlsbench`, or a file's name).
        image: The image file, or its place in a Parquet file.
        image_id: Identity of the image within its source (`vlguard/bad_ads/x.png`).
        prompt: The request.
        safe: An answer that handles the risk, or None.
        unsafe: An answer that does not, or None.
        benign: Whether the request carries no risk and should stay as it is.
        pair: Identity of the subject of image and request, if one subject is drawn or rendered many
            times; else None.
    """

    id: str
    source: str
    image: Path | PackedImage
    image_id: str
    prompt: str
    safe: str | None
    unsafe: str | None
    benign: bool
    pair: str | None = None


def to_samples(rows: list[Row], *, contrast: bool, sampled: bool) -> list[Sample]:
    """Turn rows into samples; rows that cannot be used are marked, not lost.

    A marked sample (`metadata["drop"]`) costs no call and is counted by its reason:
    `missing_image`, `empty_prompt`, `no_safe_response`, `no_unsafe_response` or
    `identical_responses`.

    A sample takes about 4 KB of memory, one of another shard 2: images are files. Those that must
    be converted are converted once, into the user's cache folder.

    Args:
        rows: The rows.
        contrast: Whether safety rows need both answers (for the hindsight stage).
        sampled: Whether missing answers will be sampled from a target.

    Returns:
        A sample for each row, in their order.

    Raises:
        UserError: No row can be used; names the first problems.
    """
    wanted = [row for row in rows if is_wanted(row.id)]
    unpacked = unpack(row.image for row in wanted if isinstance(row.image, PackedImage))
    files = {
        row.id: unpacked[row.image] if isinstance(row.image, PackedImage) else row.image
        for row in wanted
    }
    prepared = on_disk(set(files.values()))
    samples, problems = [], []
    for row in rows:
        if row.id not in files:
            # It falls to another shard, and is taken out.
            samples.append(Sample(id=row.id, input=""))
            continue
        image = prepared[files[row.id]]
        drop = (
            "missing_image" if isinstance(image, ImageError) else _problem(row, contrast, sampled)
        )
        if drop:
            problems.append(f"{row.id}: {image if isinstance(image, ImageError) else drop}")
        samples.append(_sample(row, files[row.id], image, drop))
    if len(problems) == len(rows):
        shown = "; ".join(problems[:3])
        raise UserError(
            f"None of the {len(rows)} rows can be used: {shown}. Put the images where the rows "
            f"say. Where answers are missing, sample them (-T responses=sample with --model and "
            f"--model-role grader=), or work without them (-T stages=analysis,rewrite)."
        )
    return samples


def _problem(row: Row, contrast: bool, sampled: bool) -> str | None:
    if not row.prompt.strip():
        return "empty_prompt"
    if row.benign or not contrast:
        return None
    safe, unsafe = _given(row.safe), _given(row.unsafe)
    if not sampled and not safe:
        return "no_safe_response"
    if not sampled and not unsafe:
        return "no_unsafe_response"
    if safe and unsafe and normalise_text(safe) == normalise_text(unsafe):
        return "identical_responses"
    return None


def _given(answer: str | None) -> str | None:
    """An answer that is not blank, or None."""
    return answer if answer and answer.strip() else None


def _sample(row: Row, file: Path, image: PreparedImage | ImageError, drop: str | None) -> Sample:
    images: list[str] = []
    metadata: dict[str, Any] = {
        "source": row.source,
        "benign": row.benign,
        "image_id": row.image_id,
        "pair": row.pair,
        "image_file": str(file),
        "safe": _given(row.safe),
        "unsafe": _given(row.unsafe),
        "drop": drop,
    }
    if isinstance(image, PreparedImage):
        images.append(image.reference)
        metadata["image_sha256"] = image.sha256
        if image.notes:
            metadata["image_notes"] = list(image.notes)
    return Sample(id=row.id, input=[user_message(images, row.prompt)], metadata=metadata)


def rows_hash(rows: list[Row]) -> str:
    """Identity of a selection of rows: 12 hex digits over ids and texts."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(repr((row.id, row.prompt, row.safe, row.unsafe, row.benign)).encode())
    return digest.hexdigest()[:12]
