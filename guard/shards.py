"""A benchmark in shards: each run answers the samples that fall to it by a hash of their ids.

The log of such a run notes its shard, so that readers can put all shards together, and name those
that are missing. Which shard a sample falls to depends on its id and the number of shards alone.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["SHARD", "Shard", "is_wanted", "missing_shards", "only", "place_of", "shards_of"]

SHARD: Final = "shard"
"""The field of a log's metadata that holds its shard."""


@dataclass(frozen=True)
class Shard:
    """One shard of a benchmark.

    Attributes:
        number: Its number, from 1.
        sizes: The samples of each shard of the benchmark, after a limit; a shard without samples is
            not run.
        places: Where its samples stand in the whole benchmark, from 0, so that readers put all
            samples back into their order; empty if nobody knows.
    """

    number: int
    sizes: tuple[int, ...]
    places: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """As in folders and messages: `2-of-4`."""
        return f"{self.number}-of-{len(self.sizes)}"

    def holds(self, sample_id: int | str) -> bool:
        """Whether a sample falls to this shard."""
        return place_of(sample_id, len(self.sizes)) == self.number

    def noted(self) -> dict[str, Any]:
        """For the metadata of a log, under `SHARD`."""
        return {
            "number": self.number,
            "sizes": list(self.sizes),
            "places": list(self.places),
        }

    @classmethod
    def noted_in(cls, metadata: Mapping[str, Any] | None) -> "Shard | None":
        """The shard that a log's metadata note; None for a whole benchmark.

        Raises:
            ValueError: What is noted is no shard.
        """
        noted = (metadata or {}).get(SHARD)
        if noted is None:
            return None
        try:
            sizes = tuple(map(int, noted["sizes"]))
            places = tuple(map(int, noted.get("places") or ()))
            shard = cls(int(noted["number"]), sizes, places)
        except (AttributeError, TypeError, KeyError, ValueError) as error:
            raise ValueError(_no_shard(noted)) from error
        if not 1 <= shard.number <= len(sizes) or min(sizes) < 0 or sizes[shard.number - 1] == 0:
            raise ValueError(_no_shard(noted))
        if places and len(places) != sizes[shard.number - 1]:
            raise ValueError(_no_shard(noted))
        return shard


def shards_of(sample_ids: Sequence[int | str], count: int) -> list[Shard]:
    """The shards of a benchmark that have samples.

    Args:
        sample_ids: All its samples, after a limit.
        count: Number of shards (>= 1).
    """
    held: list[list[int]] = [[] for _ in range(count)]
    for place, each in enumerate(sample_ids):
        held[place_of(each, count) - 1].append(place)
    sizes = tuple(map(len, held))
    return [Shard(number, sizes, tuple(places)) for number, places in enumerate(held, 1) if places]


def missing_shards(noted: Iterable[Shard], count: int) -> list[str]:
    """The shards of a run that are not there, by name: `2-of-4`.

    Args:
        noted: Those that are there and finished. A shard without samples is never missing.
        count: How many shards the run has.

    Returns:
        The names in order. Of shards that disagree about which of them have samples, any that one
        of them expects is missing.
    """
    there = list(noted)
    numbers = {each.number for each in there}
    return [
        f"{number}-of-{count}"
        for number in range(1, count + 1)
        if number not in numbers and (not there or any(each.sizes[number - 1] for each in there))
    ]


_WANTED: ContextVar[Shard | None] = ContextVar("wanted", default=None)


@contextmanager
def only(shard: Shard | None) -> Iterator[None]:
    """Make tasks of which the samples of a shard alone are kept: others need not be prepared.

    Args:
        shard: The shard; None for a whole benchmark.
    """
    token = _WANTED.set(shard)
    try:
        yield
    finally:
        _WANTED.reset(token)


def is_wanted(sample_id: int | str) -> bool:
    """Whether a sample must be prepared; its place and id are needed in any case."""
    shard = _WANTED.get()
    return shard is None or shard.holds(sample_id)


def place_of(sample_id: int | str, count: int) -> int:
    """The number of the shard, from 1 to `count`, to which a sample falls."""
    digest = hashlib.sha256(str(sample_id).encode()).digest()
    return int.from_bytes(digest[:8]) % count + 1


def _no_shard(noted: object) -> str:
    return f"{SHARD} in its metadata is no shard: {str(noted)[:200]}"
