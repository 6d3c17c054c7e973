"""What indices must find, by comparing each with each: as the rules are written."""

from collections import defaultdict
from collections.abc import Sequence

from vlmguard.training.dataset.duplicates import Taught
from vlmguard.training.dataset.fingerprints import NEAR_BITS, NEAR_COLOUR, Fingerprint
from vlmguard.training.dataset.similarity import NEAR_TEXT, similarity, words


def near_duplicates_by_pairs(rows: Sequence[Taught]) -> set[int]:
    """Rows that teach the same as an earlier, kept row."""
    dropped: set[int] = set()
    by_image: dict[str, list[str]] = defaultdict(list)
    by_words: dict[frozenset[str], set[str]] = defaultdict(set)
    for index, (image, original, rewritten) in enumerate(rows):
        about_image, of_words = by_image[image], by_words[frozenset(words(rewritten))]
        if any(similarity(rewritten, each) >= NEAR_TEXT for each in about_image) or any(
            similarity(original, each) < NEAR_TEXT for each in of_words
        ):
            dropped.add(index)
        else:
            about_image.append(rewritten)
            of_words.add(original)
    return dropped


def look_alike(one: Fingerprint, other: Fingerprint) -> bool:
    """Whether two images count as the same."""
    bits = int.from_bytes(one.bits) ^ int.from_bytes(other.bits)
    apart = [abs(a - b) for a, b in zip(one.colours, other.colours, strict=True)]
    return bits.bit_count() <= NEAR_BITS and sum(apart) / len(apart) <= NEAR_COLOUR


def groups_by_pairs(shown: Sequence[tuple[str, Fingerprint]]) -> list[int]:
    """For each row, by name and look of its image, the first row of its group."""
    group = list(range(len(shown)))
    for row, (name, look) in enumerate(shown):
        for other, (its_name, its_look) in enumerate(shown[:row]):
            if (name == its_name or look_alike(look, its_look)) and group[row] != group[other]:
                low, high = sorted((group[row], group[other]))
                group = [low if each == high else each for each in group]
    return group
