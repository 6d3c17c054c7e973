"""A benchmark in shards: each run answers the samples that fall to it by a hash of their ids.

The log of such a run notes its shard, so that readers can put all shards together, and name those
that are missing. Which shard a sample falls to depends on its id and the number of shards alone.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["SHARD", "Shard", "place_of", "shards_of"]

SHARD: Final = "shard"
"""The field of a log's metadata that holds its shard."""


@dataclass(frozen=True)
class Shard:
    """One shard of a benchmark.

    Attributes:
        number: Its number, from 1.
        sizes: The samples of each shard of the benchmark, after a limit; a shard without samples is
            not run.
    """

    number: int
    sizes: tuple[int, ...]

    @property
    def name(self) -> str:
        """As in folders and messages: `2-of-4`."""
        return f"{self.number}-of-{len(self.sizes)}"

    def holds(self, sample_id: int | str) -> bool:
        """Whether a sample falls to this shard."""
        return place_of(sample_id, len(self.sizes)) == self.number

    def noted(self) -> dict[str, Any]:
        """For the metadata of a log, under `SHARD`."""
        return {"number": self.number, "sizes": list(self.sizes)}

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
            shard = cls(int(noted["number"]), tuple(int(size) for size in noted["sizes"]))
        except (TypeError, KeyError) as error:
            raise ValueError(f"{SHARD} in its metadata is no shard: {noted!r}") from error
        if not 1 <= shard.number <= len(shard.sizes) or min(shard.sizes) < 0:
            raise ValueError(f"{SHARD} in its metadata is no shard: {noted!r}")
        return shard


def shards_of(sample_ids: Sequence[int | str], count: int) -> list[Shard]:
    """The shards of a benchmark that have samples.

    Args:
        sample_ids: All its samples, after a limit.
        count: Number of shards (>= 1).
    """
    places = [place_of(each, count) for each in sample_ids]
    sizes = tuple(places.count(number) for number in range(1, count + 1))
    return [Shard(number, sizes) for number in range(1, count + 1) if sizes[number - 1]]


def place_of(sample_id: int | str, count: int) -> int:
    """The number of the shard, from 1 to `count`, to which a sample falls."""
    digest = hashlib.sha256(str(sample_id).encode()).digest()
    return int.from_bytes(digest[:8]) % count + 1
