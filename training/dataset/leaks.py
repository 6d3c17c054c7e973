"""Finds training rows that are in a test set.

The same or a near-duplicate image blocks training, and so does the same image with the same text.
The same text alone is reported; `strict_text` makes it block (the train and test splits of one
benchmark share hundreds of short requests like "describe this"). If a few pictures are drawn again
and again, `key="pair"` allows an image on both sides and blocks only pairs of image and request.
Rows and test items may name their `pair`, which counts however they are drawn and worded.

Images are compared by name within one source, by the bytes of the file, and by a perceptual
fingerprint. A name is enough to find an image that is in two splits of a source.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Final, Literal

from vlmguard.training.dataset.fingerprints import Fingerprint, ImageIndex
from vlmguard.training.dataset.items import Item
from vlmguard.training.dataset.similarity import normalise_text

Kind = Literal["image_name", "image_bytes", "near_image", "pair", "text"]
Key = Literal["image", "pair"]

_REMEMBERED: Final = 50_000
"""Of so many pictures it is remembered which test items look like them: 20 MB."""


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
    rows: Iterable[Item],
    test_sets: dict[str, list[Item]],
    *,
    key: Key = "image",
    strict_text: bool = False,
    missing: Iterable[str] = (),
) -> LeakReport:
    """Compare training rows with test sets.

    Names, bytes and texts are looked up, and pictures as `ImageIndex` says: time grows with rows
    and items, not with their product. Rows are gone through once and not kept, but their leaks are.

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
    sets = _TestSets(test_sets)
    blocking: dict[str, list[Leak]] = {name: [] for name in test_sets}
    reported: dict[str, list[Leak]] = {name: [] for name in test_sets}
    for row in rows:
        for name, found in sets.leaks_of(row):
            blocks = [leak for leak in found if _blocks(leak.kind, key, strict_text)]
            blocking[name].extend(blocks[:1])
            if not blocks:
                reported[name].extend(found)
    report.blocking.extend(chain.from_iterable(blocking.values()))
    report.reported.extend(chain.from_iterable(reported.values()))
    return report


def _distinct(items: list[Item], seen: bool = False) -> set[tuple[str, str]]:
    return {(item.id, item.image_id) for item in items if item.print is not None or not seen}


def _blocks(kind: Kind, key: Key, strict_text: bool) -> bool:
    if kind == "pair":
        return True
    return strict_text if kind == "text" else key == "image"


class _TestSets:
    """All test sets together: a row that shares nothing with any of them is looked up once."""

    def __init__(self, test_sets: dict[str, list[Item]]) -> None:
        self._indices = {name: _Index(items) for name, items in test_sets.items() if items}
        self._texts: set[str] = set()
        self._pairs: set[str] = set()
        self._shown: set[_Shown] = set()
        for each in self._indices.values():
            self._texts |= each.by_text.keys()
            self._pairs |= each.by_pair.keys()
            self._shown |= each.shown.keys()
        self._prints = [shown for shown in self._shown if isinstance(shown, Fingerprint)]
        self._index = ImageIndex(self._prints)
        # Pictures occur in many rows, in no order.
        self._near = lru_cache(_REMEMBERED)(self._looked_up)

    def leaks_of(self, row: Item) -> Iterable[tuple[str, list[Leak]]]:
        """The leaks of a row by test set, strongest first: the pair, or else image and text."""
        text = normalise_text(row.text)
        near = () if row.print is None else self._near(row.print)
        if not (
            near
            or text in self._texts
            or row.pair in self._pairs
            or any(shown in self._shown for _, shown in _own(row))
        ):
            return
        for name, index in self._indices.items():
            if found := _leaks_in(row, text, index, near, name):
                yield name, found

    def _looked_up(self, look: Fingerprint) -> tuple[Fingerprint, ...]:
        return tuple(self._prints[each] for each in self._index.near(look))


class _Index:
    """The items of a test set by all that a row may share with them; of several the first counts.

    Benchmarks show one picture in thousands of items, so nothing here is done for each of them.
    """

    def __init__(self, items: list[Item]) -> None:
        self.by_text: dict[str, Item] = {}
        self.by_pair: dict[str, Item] = {}
        self.shown: dict[_Shown, Item] = {}
        self._asked: dict[tuple[_Shown, str], Item] = {}
        for item in items:
            text = normalise_text(item.text)
            if text:
                self.by_text.setdefault(text, item)
            if item.pair:
                self.by_pair.setdefault(item.pair, item)
            for _, shown in _own(item):
                self.shown.setdefault(shown, item)
                self._asked.setdefault((shown, text), item)
        self._places = {shown: place for place, shown in enumerate(self.shown)}

    def like(self, row: Item, near: Iterable[Fingerprint]) -> list[tuple[Kind, "_Shown"]]:
        """What tells a row's image, and is here; strongest evidence first.

        Args:
            row: The row.
            near: What looks like its image, in any test set.
        """
        own = [each for each in _own(row) if not isinstance(each[1], Fingerprint)]
        looks = sorted(
            (each for each in near if each in self._places), key=self._places.__getitem__
        )
        found = [each for each in own if each[1] in self.shown]
        found.extend(("near_image", look) for look in looks)
        return found

    def pair_of(self, row: Item, text: str, like: list[tuple[Kind, "_Shown"]]) -> Item | None:
        """The item that shows a row's image, and asks the same or names the same pair."""
        if row.pair and row.pair in self.by_pair:
            return self.by_pair[row.pair]
        if not text:
            return None
        found = (self._asked.get((shown, text)) for _, shown in like)
        return next((item for item in found if item is not None), None)


_Shown = tuple[Kind, str] | Fingerprint
"""What tells an image: its name, its bytes, or how it looks."""


def _own(item: Item) -> Iterable[tuple[Kind, _Shown]]:
    if item.image_id:
        yield "image_name", ("image_name", item.image_id)
    if item.sha256:
        yield "image_bytes", ("image_bytes", item.sha256)
    if item.print is not None:
        yield "near_image", item.print


def _leaks_in(
    row: Item, text: str, index: _Index, near: Iterable[Fingerprint], name: str
) -> list[Leak]:
    matches: list[tuple[Kind, Item]] = []
    like = index.like(row, near)
    if (pair := index.pair_of(row, text, like)) is not None:
        matches.append(("pair", pair))
    else:
        matches.extend((kind, index.shown[shown]) for kind, shown in like[:1])
        if text in index.by_text:
            matches.append(("text", index.by_text[text]))
    return [Leak(row.id, name, item.id, row.image_id, kind) for kind, item in matches]
