"""Rows that a model cannot take are found before the model is loaded.

A processor refuses pictures by their shape (Qwen2-VL, for one, very long ones), which would end the
run somewhere on its way, and `max_length` may leave nothing of a reply to learn from, which would
not show at all. With `max_length` every row is prepared once as the trainer will; without, only
those with pictures of a rare shape.
"""

import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import datasets
from PIL import Image, UnidentifiedImageError
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from vlmguard.guard.errors import UserError
from vlmguard.guard.hf_vlm.processor import PromptMaker
from vlmguard.training.finetune.traindata import Transform

logger = logging.getLogger(__name__)

LONG: Final = 8
"""Times as long as wide from which a picture's shape is rare; no processor known to us refuses
less."""

SMALL: Final = 56
"""Pixels of the shorter side below which a picture is rare."""


@dataclass(frozen=True)
class Length:
    """How long a row is.

    Attributes:
        tokens: Of prompt, pictures and reply together.
        reply: Of the reply alone.
        image_end: Tokens up to the last one of a picture; 0 without pictures.
    """

    tokens: int
    reply: int
    image_end: int


def check_rows(
    split: datasets.Dataset, maker: PromptMaker, shown: Transform, max_length: int | None
) -> None:
    """Refuse rows that the processor refuses, and a `max_length` that leaves nothing to learn.

    Args:
        split: The rows as they were exported.
        maker: The prompt maker.
        shown: Presents rows as inference does (`as_inference_shows`).
        max_length: Tokens after which the trainer cuts a row; None for all.

    Raises:
        UserError: A row whose pictures the processor refuses or that cannot be read, or whose
            pictures `max_length` would cut; or a `max_length` that cuts every reply.
    """
    rare = sorted(_with_rare_shapes(split))
    chosen = range(len(split)) if max_length is not None else rare
    if max_length is not None:
        logger.info("max_length: measuring %d rows.", len(split))
    rows = split.with_transform(shown)
    lengths = []
    for index in chosen:
        row = rows[index]
        length = _length(row, maker)
        lengths.append(length)
        if max_length is not None and length.image_end > max_length:
            raise UserError(
                f"max_length={max_length} cuts the picture of row {row['id']}, which no model can "
                f"take; its pictures end at token {length.image_end}. Raise max_length, lower "
                "max_pixels, or leave max_length out."
            )
    if max_length is not None:
        _tell_cuts(lengths, max_length)


def _tell_cuts(lengths: list[Length], max_length: int) -> None:
    cut = [each for each in lengths if each.tokens > max_length]
    gone = sum(each.tokens - each.reply >= max_length for each in lengths)
    if not cut:
        return
    what = (
        f"max_length={max_length} cuts the reply of {len(cut)} of {len(lengths)} rows; the longest "
        f"takes {max(each.tokens for each in lengths)} tokens"
    )
    if len(cut) == len(lengths):
        raise UserError(f"{what}. No row would teach a whole reply: raise it, or leave it out.")
    logger.warning("%s. Of %d rows nothing of the reply is left.", what, gone)


def _length(row: dict[str, Any], maker: PromptMaker) -> Length:
    collate = DataCollatorForVisionLanguageModeling(maker.processor, completion_only_loss=True)
    example = {name: row[name] for name in ("prompt", "completion", "images")}
    try:
        batch = collate([example])
    except ValueError as error:
        sizes = ", ".join(f"{image.width} x {image.height}" for image in row["images"]) or "none"
        raise UserError(
            f"data: the processor refuses row {row['id']} (images: {sizes}): {error} Leave the row "
            "out of the export, or set min_pixels or max_pixels if the processor has such bounds."
        ) from error
    ids = batch["input_ids"][0].tolist()
    marks = set(maker.tokenizer.convert_tokens_to_ids(list(maker.placeholders)))
    return Length(
        tokens=len(ids),
        reply=int((batch["labels"] != -100).sum()),
        image_end=max((place + 1 for place, token in enumerate(ids) if token in marks), default=0),
    )


def _with_rare_shapes(split: datasets.Dataset) -> Iterator[int]:
    """Numbers of the rows with such pictures; only the heads of image files are read."""
    stored: Any = split.select_columns(["id", "images"]).with_format("arrow")
    for start in range(0, len(stored), 256):
        batch = stored[start : start + 256].to_pydict()
        for place, (name, images) in enumerate(zip(batch["id"], batch["images"], strict=True)):
            for image in images:
                try:
                    where = io.BytesIO(image["bytes"]) if image["bytes"] else image["path"]
                    with Image.open(where) as picture:
                        short, long = sorted(picture.size)
                except (OSError, UnidentifiedImageError) as error:
                    raise UserError(
                        f"data: an image of row {name} cannot be read ({error}). Export again."
                    ) from error
                if short < SMALL or long >= LONG * short:
                    yield start + place
                    break
