"""Reads many logs: from the cache, else by this process and, where that takes long, by others too.

One log after the other comes out, in their order. Other processes are started only once it is known
that reading takes longer than their start.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from vlmguard.results.logs.answers import LeftOut
from vlmguard.results.logs.kept import LogCache, log_cache
from vlmguard.results.logs.processes import Processes
from vlmguard.results.logs.read import read_log
from vlmguard.results.logs.run import Run
from vlmguard.results.programs import processors

__all__ = ["Read", "read_each", "read_one"]

_WORTH: Final = 8.0
"""Seconds of reading from which on another process saves time: its start takes about three."""
_MOST_PROCESSES: Final = 7
_LOGS_EACH: Final = 4


@dataclass(frozen=True)
class Read:
    """The result of reading one log.

    Attributes:
        path: The log.
        runs: Its runs, one for each judge.
        reason: Why it cannot be used, if so.
        state: What the log was known by when it was read (`LogCache.state`); None if that is not
            known.
    """

    path: str
    runs: list[Run] = field(default_factory=list)
    reason: LeftOut | None = None
    state: dict[str, Any] | None = None


def read_one(path: str) -> list[Run] | LeftOut:
    """The runs of a log, or why it cannot be used."""
    try:
        return read_log(path)
    except LeftOut as reason:
        return reason


def read_each(paths: Iterable[str], processes: int | None = None) -> Iterator[Read]:
    """Read logs, in their order.

    Args:
        paths: Logs, as `find_logs` found them.
        processes: How many other processes read too; by default, one on each further processor,
            once that saves time.
    """
    cache = log_cache()
    others = Processes(read_one)
    listed = list(paths)
    # Of logs that others read before their turn: the state then, since a log may change meanwhile.
    before: dict[str, dict[str, Any] | None] = {}
    seconds, read = 0.0, 0
    try:
        for place, path in enumerate(listed):
            state = cache.state(path) if cache else None
            found = cache.find(path, state) if cache and state else None
            if found is None:
                if not others.started:
                    rest = _rest(listed[place:], cache)
                    left = len(rest) * seconds / max(read, 1)
                    wanted = _worth(left, len(rest)) if processes is None else processes
                    if wanted:
                        before = {each: cache.state(each) for each in rest} if cache else {}
                        others.start(rest, wanted)
                began = time.monotonic()
                found = others.result(path)
                seconds, read = seconds + time.monotonic() - began, read + 1
                state = before.get(path, state)
                if cache and state:
                    if cache.state(path) == state:
                        cache.keep(path, state, found)
                    else:
                        state = None  # It changed while it was read.
            if isinstance(found, LeftOut):
                yield Read(path, reason=found, state=state)
            else:
                yield Read(path, found, state=state)
    finally:
        others.end()
        if cache:
            cache.tidy()


def _rest(paths: list[str], cache: LogCache | None) -> list[str]:
    """The logs that must be read, of those to come."""
    if cache is None:
        return paths
    return [path for path in paths if not cache.knows(path)]


def _worth(seconds: float, logs: int) -> int:
    """The number of other processes that save time.

    Args:
        seconds: How long this process alone would need.
        logs: The logs that it would read.
    """
    if seconds < _WORTH:
        return 0
    return min(processors() - 1, _MOST_PROCESSES, logs // _LOGS_EACH)
