"""Finds rows that teach the same as an earlier row, by index instead of comparing all pairs.

Texts are near-duplicates if their sets of words have a Jaccard similarity of `NEAR_TEXT` or more.
That is decided exactly, by prefix and size filter:

Roberto J. Bayardo, Yiming Ma, Ramakrishnan Srikant. Scaling Up All Pairs Similarity Search.
WWW 2007. https://doi.org/10.1145/1242572.1242591
Chuan Xiao, Wei Wang, Xuemin Lin, Jeffrey Xu Yu. Efficient Similarity Joins for Near Duplicate
Detection (PPJoin). WWW 2008. https://doi.org/10.1145/1367497.1367516

If two sets of n and m words share 90 % of their union, they share 90 % of the larger one. So, in
any fixed order of words, the first n/10 + 1 words of the one and m/10 + 1 of the other have one in
common. Only sets that share such a word, and differ in size by 10 % at most, are compared.

Time is near the number of rows times the words of a row. It is quadratic in the number of texts
about one image that share their rarest words without being near-duplicates (all of a hundred
words, say), and of long requests with one x' that are all near each other but have little in common
as a whole. `tests/bench/export.py` measures all of that.
"""

from array import array
from collections.abc import Iterable, Iterator
from fractions import Fraction
from hashlib import blake2b
from typing import Final, NamedTuple

import numpy as np

from vlmguard.training.dataset.similarity import NEAR_TEXT, words

_SHARE: Final = Fraction(NEAR_TEXT).limit_denominator(1000)
# Without its cache: each text is read twice, a million others lie between.
_words: Final = words.__wrapped__
_FEW: Final = 16
"""So many texts are compared one by one; an index of them would take longer."""


class Taught(NamedTuple):
    """What a row teaches.

    Attributes:
        image: Identity of its image.
        original: The request.
        rewritten: The request to pass on.
    """

    image: str
    original: str
    rewritten: str


def near_duplicates(rows: Iterable[Taught]) -> set[int]:
    """Rows that teach the same as an earlier row.

    Args:
        rows: The rows in a fixed order; they are gone through twice. A row takes 16 bytes of
            memory, and about 700 more if another has its image or the words of its x'.

    Returns:
        Indices of rows whose x' nearly equals (90 % of the words) that of an earlier, kept row
        about the same image, or exactly equals the x' of a different request. The same request
        about another image may have the same x'.
    """
    images_shared = _occurs_again(_number(row.image) for row in rows)
    words_shared = _occurs_again(_number("\n".join(sorted(set(_words(row[2]))))) for row in rows)
    vocabulary: dict[str, int] = {}
    by_image: dict[str, NearSets] = {}
    by_words: dict[bytes, _AllNear] = {}
    dropped: set[int] = set()
    for index, (image, original, rewritten) in enumerate(rows):
        of_image, of_words = images_shared[index], words_shared[index]
        # Most rows of a large set are neither about the image of another, nor do they teach the
        # same: they are never dropped, and nothing is kept of them.
        if not of_image and not of_words:
            continue
        made = _numbered(rewritten, vocabulary)
        asked = _numbered(original, vocabulary) if of_words else made
        about_image = by_image.setdefault(image, NearSets()) if of_image else None
        same_words = by_words.setdefault(made.tobytes(), _AllNear()) if of_words else None
        if (about_image is not None and about_image.holds_near(made)) or (
            same_words is not None and not same_words.all_near(asked)
        ):
            dropped.add(index)
            continue
        if about_image is not None:
            about_image.add(made)
        if same_words is not None:
            same_words.add(asked)
    return dropped


class NearSets:
    """Sets of numbers, among which it finds one that is nearly the same as another.

    A set of n numbers takes 4n bytes, and about 100 for each n/10 + 1 of them once there are more
    than a few sets.
    """

    def __init__(self) -> None:
        self._sets: list[array[int]] = []
        self._by_number: dict[int, array[int]] = {}
        self._empty = False

    def add(self, given: "array[int]") -> None:
        """Add a set; its numbers are in falling order."""
        if not given:
            self._empty = True
            return
        self._sets.append(given)
        if len(self._sets) == _FEW:
            for place, each in enumerate(self._sets):
                self._index(place, each)
        elif len(self._sets) > _FEW:
            self._index(len(self._sets) - 1, given)

    def holds_near(self, given: "array[int]") -> bool:
        """Whether one of the sets is near this one, whose numbers are in falling order."""
        if not given:
            return self._empty
        wanted = frozenset(given)
        if len(self._sets) < _FEW:
            return any(_is_near(wanted, each) for each in self._sets)
        tried: set[int] = set()
        for number in given[: _prefix(len(given))]:
            for place in self._by_number.get(number, ()):
                if place not in tried:
                    tried.add(place)
                    if _is_near(wanted, self._sets[place]):
                        return True
        return False

    def _index(self, place: int, given: "array[int]") -> None:
        for number in given[: _prefix(len(given))]:
            self._by_number.setdefault(number, array("I")).append(place)


class _AllNear:
    """Sets of numbers that are all near each other: is another one near all of them?"""

    def __init__(self) -> None:
        self._sets: set[bytes] = set()
        self._core: frozenset[int] = frozenset()
        self._largest = 0

    def add(self, given: "array[int]") -> None:
        self._core = self._core.intersection(given) if self._sets else frozenset(given)
        self._largest = max(self._largest, len(given))
        self._sets.add(given.tobytes())

    def all_near(self, given: "array[int]") -> bool:
        if not self._sets or (len(self._sets) == 1 and given.tobytes() in self._sets):
            return True
        wanted = frozenset(given)
        # What all of them share is a lower bound, which requests of one pattern keep.
        common = len(self._core & wanted)
        union = len(wanted) + self._largest - common
        if union and common / union >= NEAR_TEXT:
            return True
        return all(_is_near(wanted, array("I", each)) for each in self._sets)


def _occurs_again(numbers: Iterator[int]) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Whether each of many texts occurs more than once, by hashes of 64 bits.

    Two texts with one hash count as one: they are then looked at, for nothing.
    """
    given = np.fromiter(numbers, dtype=np.uint64)
    _, places, counts = np.unique(given, return_inverse=True, return_counts=True)
    again: np.ndarray[tuple[int], np.dtype[np.bool_]] = (counts > 1)[places]
    return again


def _number(text: str) -> int:
    made = blake2b(text.encode(errors="surrogatepass"), digest_size=8)
    return int.from_bytes(made.digest())


def _numbered(text: str, vocabulary: dict[str, int]) -> "array[int]":
    """The numbers of a text's words, falling: words that were met late come first, as rare ones."""
    known: Iterable[int] = {vocabulary.setdefault(w, len(vocabulary)) for w in _words(text)}
    return array("I", sorted(known, reverse=True))


def _prefix(size: int) -> int:
    """How many words of a set one that is near it must share one of."""
    return size + (-_SHARE.numerator * size) // _SHARE.denominator + 1


def _is_near(one: frozenset[int], other: "array[int]") -> bool:
    low, high = sorted((len(one), len(other)))
    if not high:
        return True
    # The smaller one cannot share more than all of it.
    if low / high < NEAR_TEXT:
        return False
    common = len(one.intersection(other))
    return common / (low + high - common) >= NEAR_TEXT
