"""What the test sets hold: images by name and content, and texts.

Benchmarks are read by their cards, whose `load` knows every layout that is accepted. An image that
is not there is still known by its name. What is not there was not compared, and is named.
"""

from collections.abc import Iterable
from pathlib import Path

from inspect_ai.dataset import Sample

from vlmguard.guard.cards import Card, cards
from vlmguard.guard.data_source import MissingFile, local
from vlmguard.guard.errors import UserError
from vlmguard.guard.files import read_json_lines
from vlmguard.guard.messages import images_of
from vlmguard.training.dataset import vlsbench
from vlmguard.training.dataset.items import Item, with_images


def load_test_sets(
    root: Path | None, own: Iterable[Path], skip: set[str]
) -> tuple[dict[str, list[Item]], list[str]]:
    """Read every test set that is there, images included.

    Args:
        root: Folder with a folder for each known test set, or None.
        own: JSONL files of one's own.
        skip: Known test sets to leave out.

    Returns:
        Items by test set, none for a known set that is not there; and the missing parts of those
        that are.

    Raises:
        UserError: A file is damaged, or the name of one's own is taken.
    """
    known = {name: card for name, card in cards().benchmarks.items() if card.layouts}
    names = sorted({*known, vlsbench.NAME})
    found: dict[str, list[Item]] = {}
    missing: list[str] = []
    for name in names:
        if name in skip:
            continue
        items: list[Item] = []
        parts: list[str] = []
        if root is not None and (root / name).is_dir():
            if name in known:
                items, parts = read_benchmark(known[name], root / name)
            else:
                items = vlsbench.read_vlsbench(root / name)
        found[name] = with_images(items)
        # A set of which nothing is there is named as a whole.
        missing += parts if items else []
    for path in own:
        if path.stem in (*names, *found):
            raise UserError(
                f"--test-set {path}: the name {path.stem} is taken by another test set. Rename the "
                f"file."
            )
        found[path.stem] = with_images(read_own_set(path))
    return found, missing


def read_benchmark(card: Card, folder: Path) -> tuple[list[Item], list[str]]:
    """Read the items of a benchmark that are there.

    Args:
        card: The benchmark.
        folder: Its folder, in one of the layouts of its card.

    Returns:
        An item for each image of a sample, and the variants that are missing or incomplete, with
        the benchmark's name before them. A sample without an image is no item. Where two variants
        hold the same image under the same id, as two forms of one question, the first counts.

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
        if len(samples) < expected:
            lacking = f"{expected - len(samples):,} of {expected:,} samples"
            missing.append(f"{card.name}/{variant} ({lacking})")
        known = {(item.id, item.image_id) for item in items}
        items += [each for each in _items(card, samples) if (each.id, each.image_id) not in known]
    return items, missing


def _items(card: Card, samples: list[Sample]) -> list[Item]:
    texts = [_request(sample) for sample in samples]
    # What every sample says tells nothing about any of them: only its image counts.
    same = len(samples) > 1 and len(set(texts)) == 1
    return [
        Item(str(sample.id), f"{card.name}/{name}", "" if same else text, Path(image))
        for sample, text in zip(samples, texts, strict=True)
        if (images := images_of(sample.input))
        for image, name in zip(images, card.image_names(sample), strict=True)
    ]


def _request(sample: Sample) -> str:
    return sample.input if isinstance(sample.input, str) else sample.input[-1].text


def read_own_set(path: Path) -> list[Item]:
    """Read a test set of one's own: JSONL with `image` and `prompt`.

    Each line may also hold `id`, `image_id`, and `pair`, which names what image and prompt are
    about; `image` may be empty where `image_id` is given.

    Args:
        path: The file; image paths are relative to it.

    Returns:
        Its items.

    Raises:
        UserError: Unreadable, or a line lacks a field.
    """
    items = []
    try:
        for number, row in read_json_lines(path):
            items.append(
                Item(
                    f"{path.stem}/{row.get('id', number)}",
                    row.get("image_id") or f"{path.stem}/{row['image']}",
                    row["prompt"],
                    path.parent / row["image"] if row.get("image") else None,
                    pair=row.get("pair"),
                )
            )
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: cannot be read as a test set ({error!r}). Each line is a JSON object with "
            f"image and prompt."
        ) from error
    return items
