"""Finds rows that a model cannot take, before the model is loaded.

A processor refuses pictures by their shape (Qwen2-VL, for example, very long ones), which would end
the run in the middle. And `max_length` may cut a reply, or leave none of it to learn from, without
any sign. With `max_length`, every row is prepared once as in the trainer, and its labels are
counted. Without it, only rows with pictures of a rare shape are prepared.
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
"""A picture with this ratio of sides or more is rare; no processor that we know refuses a smaller
ratio.
"""

SMALL: Final = 56
"""A picture with fewer pixels on its shorter side is rare."""


NAMED: Final = 5
"""Number of rows that a message names."""


@dataclass(frozen=True)
class Length:
    """How long a row is.

    Attributes:
        row: Its id.
        tokens: Tokens of prompt, pictures and reply together.
        labels: Tokens of the reply, which the loss uses.
    """

    row: str
    tokens: int
    labels: int


def check_rows(
    split: datasets.Dataset, maker: PromptMaker, shown: Transform, max_length: int | None
) -> None:
    """Refuse rows that the processor refuses, and a `max_length` that cuts replies.

    Args:
        split: The rows as exported.
        maker: The prompt maker.
        shown: Presents rows as inference does (`as_inference_shows`).
        max_length: Tokens after which the trainer cuts a row; None for all.

    Raises:
        UserError: Rows whose pictures the processor refuses or that cannot be read, or whose reply
            `max_length` would cut; names rows, sizes, and the length needed.
    """
    rare = sorted(_with_rare_shapes(split))
    chosen = range(len(split)) if max_length is not None else rare
    if max_length is not None:
        logger.info("max_length: measuring %d rows.", len(split))
    rows = split.with_transform(shown)
    lengths, refused = [], []
    for index in chosen:
        row = rows[index]
        try:
            lengths.append(_length(row, maker))
        # A processor may raise any error: a refusal in words, or a division by zero.
        except (ValueError, ArithmeticError, LookupError, RuntimeError) as error:
            sizes = ", ".join(f"{image.width} x {image.height}" for image in row["images"])
            refused.append(f"{row['id']} (images: {sizes or 'none'}): {error}")
    if refused:
        raise UserError(
            f"data: the processor refuses {len(refused)} rows: {' '.join(refused[:NAMED])} Leave "
            "them out of the export, or set min_pixels or max_pixels if the processor has such "
            "bounds."
        )
    if max_length is not None:
        _refuse_cuts(lengths, max_length)


def _refuse_cuts(lengths: list[Length], max_length: int) -> None:
    """Refuse cuts: a reply without its end teaches to write no end; a whole one may be gone."""
    cut = [each for each in lengths if each.tokens > max_length]
    if not cut:
        return
    gone = sum(each.tokens - each.labels >= max_length for each in cut)
    named = ", ".join(f"{each.row} ({each.tokens} tokens)" for each in cut[:NAMED])
    more = f" and {len(cut) - NAMED} more" if len(cut) > NAMED else ""
    raise UserError(
        f"max_length={max_length} cuts the reply of {len(cut)} of {len(lengths)} rows, and leaves "
        f"nothing of it to learn from in {gone}: {named}{more}. Set max_length to at least "
        f"{max(each.tokens for each in cut)} or leave it out, lower max_pixels, or leave these "
        "rows out of the export."
    )


def _length(row: dict[str, Any], maker: PromptMaker) -> Length:
    collate = DataCollatorForVisionLanguageModeling(maker.processor, completion_only_loss=True)
    example = {name: row[name] for name in ("prompt", "completion", "images")}
    batch = collate([example])
    return Length(
        row=row["id"],
        tokens=len(batch["input_ids"][0]),
        labels=int((batch["labels"] != -100).sum()),
    )


def _with_rare_shapes(split: datasets.Dataset) -> Iterator[int]:
    """Numbers of the rows with such pictures; only the headers of image files are read."""
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
