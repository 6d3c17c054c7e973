"""When two texts or two images count as the same, for duplicates and for leaks."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

NEAR_TEXT: Final = 0.9
"""Share of common words (Jaccard) from which two texts are near-duplicates."""

NEAR_BITS: Final = 12
"""Of a fingerprint's 256 bits, how many may differ. Measured on FigStep-Tiny, whose 50 typographic
images look much alike: re-encoding, scaling and cropping a few pixels change at most 10 bits, two
different images differ in at least 16."""

NEAR_COLOUR: Final = 16.0
"""Mean difference of the coarse colours, of 255, up to which two images may be the same."""

_SIDE: Final = 16
_MARGIN: Final = 2
# Scripts without spaces between words are compared by pairs of characters.
_UNSPACED: Final = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


def normalise_text(text: str) -> str:
    """Compatibility form, case folded, letters and digits only, single spaces.

    Args:
        text: Any text.

    Returns:
        The form in which requests are compared.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    kept = (char if char.isalnum() or unicodedata.combining(char) else " " for char in plain)
    return " ".join("".join(kept).split())


def words(text: str) -> list[str]:
    """The words of a text in order; pairs of characters in scripts without spaces.

    Args:
        text: Any text.

    Returns:
        Normalised words.
    """
    found: list[str] = []
    for word in normalise_text(text).split():
        if _UNSPACED.fullmatch(word) and len(word) > 1:
            found.extend(word[index : index + 2] for index in range(len(word) - 1))
        else:
            found.append(word)
    return found


def similarity(first: str, second: str) -> float:
    """Share of common words (Jaccard), 0 to 1; 1 for two texts without words.

    Args:
        first: A text.
        second: Another.
    """
    one, two = set(words(first)), set(words(second))
    return len(one & two) / len(one | two) if one | two else 1.0


def similar_pairs(texts: Sequence[str], threshold: float = NEAR_TEXT) -> Iterator[tuple[int, int]]:
    """All pairs of texts that share at least `threshold` of their words.

    Two sets of words can only reach the threshold if they meet among the rarest
    few words of each, so only texts that do are compared.

    Args:
        texts: Any texts; those without a word are similar to none.
        threshold: Least Jaccard similarity, above 0 and at most 1.

    Yields:
        Indices `(i, j)` with `i < j`, by rising `j`.
    """
    sets = [frozenset(words(text)) for text in texts]
    frequency = Counter(word for each in sets for word in each)
    buckets: dict[str, list[int]] = defaultdict(list)
    for j, current in enumerate(sets):
        rare_first = sorted(current, key=lambda word: (frequency[word], word))
        # Rounded, or 10 * 0.9 could come out above 9.
        prefix = rare_first[: len(current) - int(-(-round(len(current) * threshold, 6) // 1)) + 1]
        candidates = sorted({i for word in prefix for i in buckets[word]})
        for i in candidates:
            common = len(sets[i] & current)
            if common >= threshold * (len(sets[i]) + len(current) - common):
                yield i, j
        for word in prefix:
            buckets[word].append(j)


@dataclass(frozen=True)
class Fingerprint:
    """What stays of an image through scaling and re-encoding.

    Attributes:
        bits: 256 bits: is each of 16x16 places brighter than its left neighbour?
        colours: Coarse colours, 4x4 RGB: 48 values from 0 to 255. They tell
            apart flat pictures, whose bits are all zero.
    """

    bits: bytes
    colours: bytes


def fingerprint(picture: Image.Image) -> Fingerprint:
    """A perceptual hash: brightness steps (dHash) and coarse colours.

    Args:
        picture: Any picture.

    Returns:
        Its fingerprint.
    """
    rgb = picture.convert("RGB")
    grey = rgb.convert("L").resize((_SIDE + 1, _SIDE), Image.Resampling.LANCZOS)
    levels = np.frombuffer(grey.tobytes(), dtype=np.uint8).reshape(_SIDE, _SIDE + 1).astype(int)
    # The margin keeps compression noise in flat areas out.
    steps = levels[:, 1:] > levels[:, :-1] + _MARGIN
    colours = rgb.resize((4, 4), Image.Resampling.BOX).tobytes()
    return Fingerprint(np.packbits(steps).tobytes(), colours)


class ImageIndex:
    """Finds near-duplicates of an image among many.

    Args:
        fingerprints: The images to search.
    """

    def __init__(self, fingerprints: Sequence[Fingerprint]) -> None:
        self._bits = _table([each.bits for each in fingerprints], _SIDE * _SIDE // 8)
        self._colours = _table([each.colours for each in fingerprints], 48).astype(np.int16)

    def near(self, image: Fingerprint) -> list[int]:
        """Indices of the images that look the same.

        Args:
            image: What to look for.

        Returns:
            Indices into the fingerprints, rising; empty if there is none.
        """
        differing = np.bitwise_count(self._bits ^ np.frombuffer(image.bits, np.uint8)).sum(axis=1)
        colours = np.frombuffer(image.colours, np.uint8).astype(np.int16)
        distance = np.abs(self._colours - colours).mean(axis=1)
        near = np.flatnonzero((differing <= NEAR_BITS) & (distance <= NEAR_COLOUR))
        return [int(index) for index in near]


def _table(rows: list[bytes], width: int) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), width)
