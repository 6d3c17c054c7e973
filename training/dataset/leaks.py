"""Finds training rows that are in a test set.

The same or a near-duplicate image blocks training, and so does the same image with the same text.
The same text alone is reported; `strict_text` makes it block (the train and test splits of one
benchmark share hundreds of short requests like "describe this"). If a few pictures are drawn again
and again, `key="pair"` allows an image on both sides and blocks only pairs of image and request.
Rows and test items may name their `pair`, which counts however they are drawn and worded.

Images are compared by name within one source, by the bytes of the file, and by a perceptual
fingerprint. A name is enough to find an image that is in two splits of a source.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from vlmguard.training.dataset.fingerprints import ImageIndex
from vlmguard.training.dataset.items import Item
from vlmguard.training.dataset.similarity import normalise_text

Kind = Literal["image_name", "image_bytes", "near_image", "pair", "text"]
Key = Literal["image", "pair"]


@dataclass(frozen=True)
class Leak:
    """A row of training data that is also in a test set.

    Attributes:
        row: Id of the training row.
        test_set: Name of the test set.
        item: Id of the test item, or of one of several that match.
        image_id: The training row's image.
        kind: The kind of match.
    """

    row: str
    test_set: str
    item: str
    image_id: str
    kind: Kind


@dataclass(frozen=True)
class LeakReport:
    """The comparison and its result.

    Attributes:
        key: The leak that blocks: the `image`, or only the `pair` of image and text.
        strict_text: Whether the text alone blocks, too.
        checked: For each test set its number of items (each picture of a sample is one, however
            many forms its request has), and of items whose image was there.
        unchecked: Missing test sets, and missing parts of others.
        blocking: Leaks that block training; for each row and test set the strongest one.
        reported: Leaks that do not block, of rows that the test set does not block.
    """

    key: Key
    strict_text: bool
    checked: dict[str, dict[str, int]]
    unchecked: list[str]
    blocking: list[Leak] = field(default_factory=list)
    reported: list[Leak] = field(default_factory=list)

    def rows(self) -> set[str]:
        """Ids of the rows that may not be trained on."""
        return {leak.row for leak in self.blocking}


def find_leaks(
    rows: list[Item],
    test_sets: dict[str, list[Item]],
    *,
    key: Key = "image",
    strict_text: bool = False,
    missing: Iterable[str] = (),
) -> LeakReport:
    """Compare training rows with test sets.

    Args:
        rows: Training rows.
        test_sets: Items by test set; one without items is reported as unchecked.
        key: The leak that blocks.
        strict_text: Whether the text alone blocks too.
        missing: Parts of the test sets that are not there, for the report.
    """
    report = LeakReport(
        key,
        strict_text,
        {
            name: {"items": len(_distinct(items)), "images": len(_distinct(items, seen=True))}
            for name, items in test_sets.items()
            if items
        },
        [*(name for name, items in test_sets.items() if not items), *missing],
    )
    for name, items in test_sets.items():
        for found in _compare(rows, items, name):
            blocking = [leak for leak in found if _blocks(leak.kind, key, strict_text)]
            report.blocking.extend(blocking[:1])
            if not blocking:
                report.reported.extend(found)
    return report


def _distinct(items: list[Item], seen: bool = False) -> set[tuple[str, str]]:
    return {(item.id, item.image_id) for item in items if item.print is not None or not seen}


def _blocks(kind: Kind, key: Key, strict_text: bool) -> bool:
    if kind == "pair":
        return True
    return strict_text if kind == "text" else key == "image"


def _compare(rows: list[Item], items: list[Item], name: str) -> Iterable[list[Leak]]:
    """For each row its leaks, strongest first: the pair, or else image and text."""
    by_name: dict[str, list[Item]] = defaultdict(list)
    by_bytes: dict[str, list[Item]] = defaultdict(list)
    by_text: dict[str, list[Item]] = defaultdict(list)
    by_pair = {item.pair: item for item in items if item.pair}
    for item in items:
        if item.image_id:
            by_name[item.image_id].append(item)
        if item.sha256:
            by_bytes[item.sha256].append(item)
        if text := normalise_text(item.text):
            by_text[text].append(item)
    printed = [(item, item.print) for item in items if item.print is not None]
    index = ImageIndex([each for _, each in printed])
    near: dict[Any, list[Item]] = {}
    for row in rows:
        found: list[tuple[Kind, list[Item]]] = [
            ("image_name", by_name.get(row.image_id, [])),
            ("image_bytes", by_bytes.get(row.sha256, []) if row.sha256 else []),
        ]
        if row.print is not None:
            if row.print not in near:
                near[row.print] = [printed[place][0] for place in index.near(row.print)]
            found.append(("near_image", near[row.print]))
        text = normalise_text(row.text)
        same_image: list[tuple[Kind, Item]] = [
            (kind, item) for kind, matches in found for item in matches
        ]
        pair = by_pair.get(row.pair or "") or next(
            (item for _, item in same_image if text and normalise_text(item.text) == text), None
        )
        matches: list[tuple[Kind, Item]] = same_image[:1]
        if text in by_text:
            matches.append(("text", by_text[text][0]))
        if pair is not None:
            matches = [("pair", pair)]
        yield [Leak(row.id, name, item.id, row.image_id, kind) for kind, item in matches]
