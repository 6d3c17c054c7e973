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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from vlmguard.training.fingerprints import ImageIndex
from vlmguard.training.similarity import normalise_text
from vlmguard.training.testsets import TEST_SETS, Item, read_own_set, read_test_set, with_images

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
        unchecked: Test sets that were not there.
        blocking: Leaks that block training.
        reported: Leaks that are only reported.
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

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON can hold it."""
        return asdict(self)


def load_test_sets(root: Path | None, own: Iterable[Path], skip: set[str]) -> dict[str, list[Item]]:
    """Read every test set that is there, images included.

    Args:
        root: Folder with a folder for each known test set, or None.
        own: JSONL files of one's own.
        skip: Known test sets to leave out.

    Returns:
        Items by test set; a known set that is not there has none.
    """
    found: dict[str, list[Item]] = {}
    for name in TEST_SETS:
        if name not in skip:
            there = root is not None and (root / name).is_dir()
            found[name] = with_images(read_test_set(name, root / name)) if there and root else []
    for path in own:
        found[path.stem] = with_images(read_own_set(path))
    return found


def find_leaks(
    rows: list[Item],
    test_sets: dict[str, list[Item]],
    *,
    key: Key = "image",
    strict_text: bool = False,
) -> LeakReport:
    """Compare training rows with test sets.

    Args:
        rows: Training rows.
        test_sets: Items by test set, as `load_test_sets` gives them.
        key: What blocks.
        strict_text: Let the text alone block.

    Returns:
        The report: at most one leak for each row and test set, the strongest.
    """
    report = LeakReport(
        key,
        strict_text,
        {
            name: {"items": len(items), "images": sum(item.print is not None for item in items)}
            for name, items in test_sets.items()
            if items
        },
        [name for name, items in test_sets.items() if not items],
    )
    for name, items in test_sets.items():
        for leak in _compare(rows, items, name):
            blocks = leak.kind == "pair" or (strict_text if leak.kind == "text" else key == "image")
            (report.blocking if blocks else report.reported).append(leak)
    return report


def _compare(rows: list[Item], items: list[Item], name: str) -> Iterable[Leak]:
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
        same_image = [(kind, item) for kind, matches in found for item in matches]
        pair = by_pair.get(row.pair or "") or next(
            (item for _, item in same_image if text and normalise_text(item.text) == text), None
        )
        if pair is not None:
            yield Leak(row.id, name, pair.id, row.image_id, "pair")
        elif same_image:
            kind, item = same_image[0]
            yield Leak(row.id, name, item.id, row.image_id, kind)
        elif text in by_text:
            yield Leak(row.id, name, by_text[text][0].id, row.image_id, "text")
