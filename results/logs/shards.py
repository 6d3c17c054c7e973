"""Puts the logs of a run's shards together, and says of which run shards are missing.

Shards belong together if their headers ask for the same, and what their samples note (versions,
prompts, judges) does not contradict that. Of several logs of one shard (a retry, a copy) the newest
counts. A run of which a shard is missing, unfinished or left out is unfinished: the rest would be a
part of a benchmark that looks like the whole of it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from vlmguard.results.logs.alike import loosely_alike, told_apart, unlike
from vlmguard.results.logs.answers import LeftOut
from vlmguard.results.logs.merging import merged
from vlmguard.results.logs.run import Run, judges_as
from vlmguard.results.logs.shard_sets import ShardLog, ShardSet, fits, missing_of, sets_of
from vlmguard.results.logs.unfinished import RUN_AGAIN

__all__ = ["WITH", "Whole", "whole_runs"]

WITH: Final = "left out with"
"""How the reason of all logs of a run but the first begins."""


@dataclass
class Whole:
    """Runs of whole benchmarks.

    Attributes:
        runs: The runs, in the order of their first logs.
        left_out: The reason for each log of a shard that is in none of them.
    """

    runs: list[Run] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def whole_runs(read: Iterable[Run]) -> Whole:
    """Put the shards of each run together.

    Args:
        read: Runs of single logs; those of whole benchmarks stay as they are.

    Returns:
        The runs, and the reason for each log of a shard that is left out.
    """
    all_runs = list(read)
    found = Whole()
    by_path: dict[str, list[Run]] = {}
    for run in all_runs:
        if run.shard is not None:
            by_path.setdefault(run.path, []).append(run)
    sets = list(sets_of([ShardLog(runs) for runs in by_path.values()], found.left_out))
    finished: dict[str, list[Run]] = {}
    broken: list[ShardSet] = []
    for each in sets:
        if missing_of(each):
            broken.append(each)
            continue
        try:
            views = list(_views(each))
        except LeftOut as reason:
            _leave(each, str(reason), found.left_out)
        else:
            first = next(path for path in by_path if path in views[0].paths)
            finished[first] = views
    for run in all_runs:
        if run.shard is None:
            found.runs.append(run)
        elif run.path in finished:
            found.runs += finished.pop(run.path)
    for each in broken:
        found.left_out |= _unfinished(each, broken, sets, found.runs)
    return found


def _views(found: ShardSet) -> Iterator[Run]:
    """The run of a set of shards, once for each judge.

    A judge that was added to some of the shards alone has judged no whole run.
    """
    logs = [found[number] for number in sorted(found)]
    first = merged([log.run for log in logs])
    yield first
    earlier = [first]
    for view in range(1, max(len(log.runs) for log in logs)):
        judged = [log for log in logs if len(log.runs) > view]
        runs = [log.runs[view] for log in judged]
        names = ", ".join(runs[0].part.names if runs[0].part else ())
        if len(judged) < len(logs) or any(unlike(runs[0], each) for each in runs[1:]):
            first.remarks.append(
                f"{names}, added later, judged {len(judged)} of {len(logs)} shards, or these not "
                f"alike: not shown; score every shard with it"
            )
            continue
        run = merged(runs)
        run.repeat = sum(judges_as(run, before) for before in earlier)
        earlier.append(run)
        yield run


def _leave(found: ShardSet, reason: str, left_out: dict[str, str]) -> None:
    first, *others = (found[number].path for number in sorted(found))
    left_out[first] = reason
    left_out |= dict.fromkeys(others, f"{WITH} {first}")


def _unfinished(
    found: ShardSet, broken: Sequence[ShardSet], sets: Sequence[ShardSet], runs: Sequence[Run]
) -> dict[str, str]:
    """The reason for each log of a run of which shards are missing."""
    for other in sets:
        newer = {number: other[number] for number in found if number in other}
        if other is not found and len(newer) == len(found) and _newer(newer, found):
            return {
                log.path: f"older run of the same as {newer[number].path}"
                for number, log in found.items()
            }
    one = next(iter(found.values())).run
    whole = [run for run in runs if loosely_alike(one, run)]
    last = max(log.run.created for log in found.values())
    if again := next((run for run in whole if run.created >= last), None):
        return {log.path: f"older run, done again as {again.path}" for log in found.values()}
    reason = _reason(found, [each for each in broken if each is not found])
    if whole:
        reason += f"; until then {whole[0].path} counts"
    left_out: dict[str, str] = {}
    _leave(found, reason, left_out)
    return left_out


def _newer(newer: ShardSet, found: ShardSet) -> bool:
    """Whether a set has a fitting log for each of another, none of them older."""
    return all(
        log.asked == newer[number].asked
        and fits(log, [newer[number]])
        and newer[number].run.created >= log.run.created
        for number, log in found.items()
    )


def _reason(found: ShardSet, others: Sequence[ShardSet]) -> str:
    """Which shards are missing; of one that is there and differs, in what."""
    one = next(iter(found.values())).run
    told: list[str] = []
    gone: list[str] = []
    for name in missing_of(found):
        number = int(name.partition("-")[0])
        there = [each[number].run for each in others if number in each]
        apart = next((text for run in there if (text := told_apart(one, run))), "")
        if apart:
            told.append(f"shard {name} is there and differs: {apart}")
        else:
            gone.append(name)
    if gone:
        *most, last = gone
        named = f"shards {', '.join(most)} and {last} are" if most else f"shard {last} is"
        told.insert(0, f"{named} missing")
    return f"unfinished: {'; '.join(told)}; {RUN_AGAIN}"
