"""What `build` computed, kept for the next time: the same logs, unchanged, give the same board.

Only numbers and words are kept. The runs themselves come from the logs, or from what is kept of
each log; a board is found by the states in which all of them were read (`logs.kept`), so a log that
changed, went or came leads to another one. Reading what is kept builds objects of the classes named
here alone and calls nothing else, as for logs.
"""

import contextlib
import hashlib
import json
import logging
import zlib
from dataclasses import fields
from importlib.metadata import version
from typing import Any, Final

import numpy as np

from vlmguard.guard.errors import reason_of
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.model import (
    Beside,
    Cell,
    Duel,
    Entry,
    Gain,
    Group,
    Leaderboard,
    Overhead,
)
from vlmguard.results.logs.cache_folder import cache_folder
from vlmguard.results.logs.codec import UNDECODABLE
from vlmguard.results.logs.conditions import Column
from vlmguard.results.logs.coverage import Coverage
from vlmguard.results.logs.frame import Results
from vlmguard.results.logs.measures import Measure
from vlmguard.results.logs.run import Run
from vlmguard.results.stats.differences import Difference

__all__ = ["kept_build"]

_LOGGER: Final = logging.getLogger(__name__)
_CLASSES: Final[dict[str, Any]] = {
    each.__name__: each
    for each in (
        *(Beside, Cell, Column, Coverage, Difference, Duel, Entry, Gain, Group, Leaderboard),
        *(Measure, Overhead),
    )
}
_SHARED: Final = (Entry, Group)
"""Told apart as objects: what stands at several places is one object afterwards, too."""
_KIND: Final = "="


def kept_build(results: Results, intersect: bool = False) -> Leaderboard:
    """As `build`; computed anew only if these logs have no board in the cache.

    Args:
        results: What was read.
        intersect: As for `build`.
    """
    cache, known = cache_folder(), _digest(results, intersect)
    if cache is None or known is None:
        return build(results, intersect)
    name = f"board-{known}"
    content = cache.read(name)
    if content is not None:
        # Damaged bytes are written anew.
        with contextlib.suppress(*UNDECODABLE):
            return _Reader(results.runs).board(json.loads(zlib.decompress(content)))
    board = build(results, intersect)
    try:
        written = json.dumps(_Writer(results.runs).plain(board))
        cache.write(name, zlib.compress(written.encode(), 1))
        cache.tidy()
    except TypeError as error:
        _LOGGER.warning("the board is not kept for the next time: %s", error)
    except OSError as error:
        # The user was told when what was read of the logs could not be kept.
        _LOGGER.debug("the board is not kept: %s", reason_of(error))
    return board


def _digest(results: Results, intersect: bool) -> str | None:
    """What a board is known by; None if some log's state is not known."""
    logs = {*results.states, *(path for run in results.runs for path in run.paths)}
    if any(results.states.get(log) is None for log in logs):
        return None
    facts = [
        results.states,
        # Which of them are runs, in which order.
        [[*run.paths, run.view] for run in results.runs],
        results.left_out,
        intersect,
        version("scipy"),
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:40]


class _Writer:
    def __init__(self, runs: list[Run]) -> None:
        self._runs = {id(run): place for place, run in enumerate(runs)}
        self._known: dict[int, int] = {}

    def plain(self, value: Any) -> Any:
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, str | int | float):
            return value
        if isinstance(value, list):
            return [self.plain(each) for each in value]
        if isinstance(value, tuple):
            return {_KIND: "tuple", "of": [self.plain(each) for each in value]}
        if isinstance(value, dict):
            return {_KIND: "dict", "of": [[key, self.plain(each)] for key, each in value.items()]}
        if isinstance(value, Run):
            return {_KIND: "run", "of": self._runs[id(value)]}
        if (known := self._known.get(id(value))) is not None:
            return {_KIND: "known", "of": known}
        kind = type(value).__name__
        if _CLASSES.get(kind) is not type(value):
            raise TypeError(f"a board holds a {kind}: name its class in `_CLASSES`")
        held = {each.name: vars(value)[each.name] for each in fields(value)}
        parts = {name: self.plain(each) for name, each in held.items()}
        if isinstance(value, _SHARED):
            self._known[id(value)] = len(self._known)
        return {_KIND: kind, "of": parts}


class _Reader:
    def __init__(self, runs: list[Run]) -> None:
        self._runs = runs
        self._known: list[Any] = []

    def board(self, value: Any) -> Leaderboard:
        made = self._object(value)
        if not isinstance(made, Leaderboard):
            raise ValueError("it holds no board")
        return made

    def _object(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._object(each) for each in value]
        if not isinstance(value, dict):
            return value
        kind, of = value[_KIND], value["of"]
        if kind == "tuple":
            return tuple(self._object(each) for each in of)
        if kind == "dict":
            return {key: self._object(each) for key, each in of}
        if kind == "run":
            return self._runs[of]
        if kind == "known":
            return self._known[of]
        made = _CLASSES[kind](**{name: self._object(each) for name, each in of.items()})
        if isinstance(made, _SHARED):
            self._known.append(made)
        return made
