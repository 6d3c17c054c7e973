"""Reads test sets: images by name and content, and texts.

Benchmarks are read by their cards, whose `load` knows every layout that is accepted. A missing
image is still known by its name. Missing parts are not compared, and are named.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Self

from inspect_ai.dataset import Sample
from pydantic import BaseModel, ConfigDict, model_validator

from vlmguard.guard.cards import Card, cards
from vlmguard.guard.data_records import named_records, parse_records
from vlmguard.guard.data_source import MissingFile, local
from vlmguard.guard.errors import UserError
from vlmguard.guard.messages import images_of
from vlmguard.training.dataset.items import Item, with_images


class OwnItem(BaseModel):
    """A line of a user's own test set.

    Attributes:
        prompt: The request.
        image: Path of the image; may be left out if `image_id` is given.
        image_id: Name of the image within its source; by default made from the path.
        id: Name of the item; by default the number of the line.
        pair: Name of the subject of image and prompt.
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)

    prompt: str
    image: str | None = None
    image_id: str | None = None
    id: str | None = None
    pair: str | None = None

    @model_validator(mode="after")
    def _has_an_image(self) -> Self:
        if not self.image and not self.image_id:
            raise ValueError("neither image nor image_id is given")
        return self


def load_test_sets(
    root: Path | None, own: Iterable[Path], skip: set[str]
) -> tuple[dict[str, list[Item]], list[str]]:
    """Read every test set that exists, with its images.

    Args:
        root: Folder with a folder for each known test set, or None.
        own: The user's own JSONL files.
        skip: Known test sets to leave out.

    Returns:
        Items by test set, empty for a missing known set; and the missing parts of existing sets.

    Raises:
        UserError: A file is damaged, or the name of a user's set is taken.
    """
    known = {name: card for name, card in cards().benchmarks.items() if card.layouts}
    found: dict[str, list[Item]] = {}
    missing: list[str] = []
    for name, card in known.items():
        if name in skip:
            continue
        items: list[Item] = []
        parts: list[str] = []
        if root is not None and (root / name).is_dir():
            items, parts = read_benchmark(card, root / name)
        found[name] = with_images(items)
        # A set without any file is named as a whole.
        missing += parts if items else []
    for path in own:
        if path.stem in (*known, *found):
            raise UserError(
                f"--test-set {path}: the name {path.stem} is taken by another test set. Rename the "
                f"file."
            )
        found[path.stem] = with_images(read_own_set(path))
    return found, missing


def read_benchmark(card: Card, folder: Path) -> tuple[list[Item], list[str]]:
    """Read the items of a benchmark that exist.

    Args:
        card: The benchmark.
        folder: Its folder, in one of the layouts of its card.

    Returns:
        An item for each image of a sample and each form of its request, and the variants that are
        missing or incomplete, with the benchmark's name before them. A sample without an image is
        an item of its text alone. If two variants hold the same item, it counts once.

    Raises:
        UserError: A file is damaged.
    """
    source = local(card, folder, partial=True)
    items: list[Item] = []
    missing: list[str] = []
    for variant, expected in card.variants.items():
        try:
            samples = card.load(source, variant)
        except MissingFile:
            missing.append(f"{card.name}/{variant}")
            continue
        if expected is not None and len(samples) < expected:
            lacking = f"{expected - len(samples):,} of {expected:,} samples"
            missing.append(f"{card.name}/{variant} ({lacking})")
        items += _items(card, samples)
    return list(dict.fromkeys(items)), missing


def _items(card: Card, samples: list[Sample]) -> list[Item]:
    requests = [_requests(sample) for sample in samples]
    # A text that all samples share identifies none of them: only the image counts.
    same = set.intersection(*requests) if len(samples) > 1 else set()
    items = []
    for sample, texts in zip(samples, requests, strict=True):
        pictures = [Path(image) for image in images_of(sample.input)]
        names = [f"{card.name}/{name}" for name in card.image_names(sample)] if pictures else []
        shown: list[tuple[Path | None, str]] = [*zip(pictures, names, strict=True)]
        for text in sorted(texts - same) or [""]:
            # A sample without an image is its text alone.
            for image, name in shown or [(None, "")]:
                items.append(Item(str(sample.id), name, text, image))
    return items


def _requests(sample: Sample) -> set[str]:
    """The request as its authors' files have it; by default that is what is sent."""
    sent = sample.input if isinstance(sample.input, str) else sample.input[-1].text
    return {*(sample.metadata or {}).get("requests", [sent])}


def read_own_set(path: Path) -> list[Item]:
    """Read a user's own test set.

    Args:
        path: JSONL file, see `OwnItem`; image paths are relative to it.

    Raises:
        UserError: The file cannot be read or is empty, or a line lacks a field.
    """
    records = named_records(path, ".jsonl")
    parsed = parse_records(records, OwnItem, path, strict=False)
    return [
        Item(
            f"{path.stem}/{item.id or name.split()[-1]}",
            item.image_id or f"{path.stem}/{item.image}",
            item.prompt,
            path.parent / item.image if item.image else None,
            pair=item.pair,
        )
        for (name, _), item in zip(records, parsed, strict=True)
    ]
