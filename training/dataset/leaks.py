"""Does a test set hold what we train on?

The same or a near-duplicate image blocks training, and so does the same image with
the same text. The same text alone is reported; `strict_text` makes it block (264 of
VLGuard's 1,558 test requests have a twin in its train split, "describe this" and the
like). Where the images are few and drawn, as in the microworld, `key="pair"` lets an
image be on both sides and blocks pairs alone; rows and test items can name their `pair`,
which then counts however the image is drawn and the request is worded.

Images are compared by name within one source, by the bytes of the file, and by a
perceptual fingerprint. Names are enough to find VLGuard's 8 images that are in both
its train and its test split.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vlmguard.guard.errors import UserError
from vlmguard.training.dataset.fingerprints import ImageIndex
from vlmguard.training.dataset.similarity import normalise_text
from vlmguard.training.dataset.testsets import (
    TEST_SETS,
    Item,
    missing_parts,
    read_own_set,
    read_test_set,
    with_images,
)

Kind = Literal["image_name", "image_bytes", "near_image", "pair", "text"]
Key = Literal["image", "pair"]


@dataclass(frozen=True)
class Leak:
    """A row of training data that a test set holds as well.

    Attributes:
        row: Id of the training row.
        test_set: Name of the test set.
        item: Id of the test item; one of them, if several match.
        image_id: The training row's image.
        kind: How they were found to be the same.
    """

    row: str
    test_set: str
    item: str
    image_id: str
    kind: Kind


@dataclass(frozen=True)
class LeakReport:
    """What was compared, and what was found.

    Attributes:
        key: What blocks: the `image`, or only the `pair` of image and text.
        strict_text: The text alone blocks too.
        checked: For each test set its number of items, and of items whose
            image was there to compare.
        unchecked: Test sets that were not there, and missing parts of others.
        blocking: Leaks that block training; for each row and test set the strongest.
        reported: Leaks that are only reported, of rows that the test set does not block.
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


def load_test_sets(root: Path | None, own: Iterable[Path], skip: set[str]) -> dict[str, list[Item]]:
    """Read every test set that is there, images included.

    Args:
        root: Folder with a folder for each known test set, or None.
        own: JSONL files of one's own.
        skip: Known test sets to leave out.

    Returns:
        Items by test set; a known set that is not there has none.

    Raises:
        UserError: A file is not what it should be, or its name is taken.
    """
    found: dict[str, list[Item]] = {}
    for name in TEST_SETS:
        if name not in skip:
            there = root is not None and (root / name).is_dir()
            found[name] = with_images(read_test_set(name, root / name)) if there and root else []
    for path in own:
        if path.stem in (*TEST_SETS, *found):
            raise UserError(
                f"--test-set {path}: the name {path.stem} is taken by another test set. Rename the "
                f"file."
            )
        found[path.stem] = with_images(read_own_set(path))
    return found


def lacking(root: Path | None, test_sets: dict[str, list[Item]]) -> list[str]:
    """Parts of known test sets that could not be read, although the set is there.

    Args:
        root: As for `load_test_sets`.
        test_sets: What it found.

    Returns:
        Their names, with the set's name before them.
    """
    return [
        part
        for name, items in test_sets.items()
        if root is not None and items and name in TEST_SETS
        for part in missing_parts(name, root / name)
    ]


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
        test_sets: Items by test set, as `load_test_sets` gives them.
        key: What blocks.
        strict_text: Let the text alone block.
        missing: Parts of them that could not be read, for the report.

    Returns:
        The report.
    """
    report = LeakReport(
        key,
        strict_text,
        {
            name: {"items": len(items), "images": sum(item.print is not None for item in items)}
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


def _blocks(kind: Kind, key: Key, strict_text: bool) -> bool:
    if kind == "pair":
        return True
    return strict_text if kind == "text" else key == "image"


def _compare(rows: list[Item], items: list[Item], name: str) -> Iterable[list[Leak]]:
    """For each row its leaks, the strongest first: the pair, or the image and the text."""
    by_name: dict[str, list[Item]] = defaultdict(list)
    by_bytes: dict[str, list[Item]] = defaultdict(list)
    by_text: dict[str, list[Item]] = defaultdict(list)
    by_pair = {item.pair: item for item in items if item.pair}
    for item in items:
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
