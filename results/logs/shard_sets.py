"""Sets of logs that are the shards of one run."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from vlmguard.guard.shards import missing_shards
from vlmguard.results.logs.alike import asked_by, noted_apart
from vlmguard.results.logs.run import Run

__all__ = ["ShardLog", "ShardSet", "fits", "missing_of", "replaced", "sets_of"]


@dataclass
class ShardLog:
    """A finished log of a shard.

    Attributes:
        runs: Its run, once for each judge.
    """

    runs: list[Run]

    @property
    def run(self) -> Run:
        """Its run by the first judge."""
        return self.runs[0]

    @property
    def number(self) -> int:
        """The number of its shard."""
        shard = self.run.shard
        assert shard is not None, "only logs of shards are put together"
        return shard.number

    @property
    def path(self) -> str:
        """Its place."""
        return self.run.path

    @cached_property
    def asked(self) -> tuple[str, ...]:
        """What its header asks for."""
        return tuple(asked_by(self.run).values())


ShardSet = dict[int, ShardLog]
"""Logs of shards that fit together, by the number of the shard."""


def sets_of(logs: Sequence[ShardLog], left_out: dict[str, str]) -> Iterator[ShardSet]:
    """Logs that fit together, the newest of each shard first.

    Args:
        logs: All logs of shards.
        left_out: Gets the reason for each log in none of the sets: copies, and logs that lack
            samples.
    """
    alike: dict[tuple[str, ...], list[ShardSet]] = {}
    for log in sorted(logs, key=lambda each: each.run.rank, reverse=True):
        if fault := _fault(log.run):
            left_out[log.path] = fault
            continue
        known = alike.setdefault(log.asked, [])
        fitting = [each for each in known if fits(log, each.values())]
        holding = [each[log.number] for each in fitting if log.number in each]
        evaluation = log.run.identity[1]
        if copied := next((one for one in holding if one.run.identity[1] == evaluation), None):
            left_out[log.path] = replaced(log.run, copied.run)
            continue
        free = next((each for each in fitting if log.number not in each), None)
        if free is None:
            known.append({log.number: log})
        else:
            free[log.number] = log
    for found in alike.values():
        yield from found


def replaced(run: Run, newer: Run) -> str:
    """Why a run does not count beside another one of the same."""
    if run.is_part_of(newer):
        held, of = run.answers["sample"].nunique(), newer.answers["sample"].nunique()
        return f"a trial: {held} of the {of} samples of {newer.path}"
    if run.identity[1] != newer.identity[1]:
        return f"older run of the same as {newer.path}"
    if run.edits < newer.edits:
        return f"another state of {newer.path}, with fewer edits"
    return f"copy of {newer.path}"


def fits(log: ShardLog, others: Iterable[ShardLog]) -> bool:
    """Whether a log may be of one run with others.

    Args:
        log: The log.
        others: Logs whose headers ask for the same.
    """
    return not any(noted_apart(log.run, other.run) for other in others)


def _fault(run: Run) -> str:
    """Why a log does not hold what its shard should hold; empty if it does."""
    shard = run.shard
    assert shard is not None, "only logs of shards are looked at"
    held, due = run.answers["sample"].nunique(), shard.sizes[shard.number - 1]
    if held == due:
        return ""
    return f"shard {shard.name} holds {held} samples, and {due} fall to it; run it again"


def missing_of(found: ShardSet) -> list[str]:
    """The names of the shards that a set lacks."""
    shards = [shard for log in found.values() if (shard := log.run.shard)]
    return missing_shards(shards, len(shards[0].sizes))
