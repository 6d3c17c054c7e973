"""Which runs stand on one set of pages: all defenses of a target on a benchmark, attacks beside."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from vlmguard.results.leaderboard.model import UNDEFENDED_LABEL, Entry, Leaderboard
from vlmguard.results.leaderboard.red_team_twins import plain
from vlmguard.results.logs.conditions import Column

__all__ = ["SampleSet", "sets_of", "under"]

_LONGEST_NAME = 60


@dataclass
class SampleSet:
    """The runs of a target under the same conditions, with and without an attack.

    Attributes:
        name: Its file's name, without ending.
        title: The benchmark.
        target: The target's label.
        entries: The runs: undefended first, those without an attack before the others.
        samples: Ids of all samples, in the order of the data set.
    """

    name: str
    title: str
    target: str
    entries: list[Entry] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)

    @property
    def attacks(self) -> list[str]:
        """The attacks as users type them; an empty text stands for none."""
        return list(dict.fromkeys(under(entry) for entry in self.entries))


def under(entry: Entry) -> str:
    """The attack of a run; empty without one."""
    return entry.group.column.under


def sets_of(board: Leaderboard) -> list[SampleSet]:
    """All sets of a leaderboard, in its order."""
    entries = [*board.entries, *(board.attacked.entries if board.attacked else [])]
    found: dict[tuple[str, Column], list[Entry]] = {}
    for entry in entries:
        found.setdefault((entry.target, plain(entry.group.column)), []).append(entry)
    named: dict[str, SampleSet] = {}
    for (target, column), runs in found.items():
        free = [entry.group for entry in runs if not under(entry)]
        title = free[0].title if free else column.heading
        name = _free_name(f"{title} {target}", named)
        ordered = sorted(runs, key=lambda run: (under(run) != "", run.defense != UNDEFENDED_LABEL))
        named[name] = SampleSet(name, title, target, ordered, _ids(ordered))
    return list(named.values())


def _ids(entries: Iterable[Entry]) -> list[str]:
    ids = (str(name) for entry in entries for name in entry.run.answers["sample"])
    return list(dict.fromkeys(ids))


def _free_name(text: str, taken: Iterable[str]) -> str:
    """A file's name of letters, digits and hyphens that no other set has."""
    base = re.sub(r"[^a-z0-9]+", "-", text.lower())[:_LONGEST_NAME].strip("-") or "samples"
    names = (base if not number else f"{base}-{number + 1}" for number in range(10**6))
    known = {*taken, "index"}
    return next(name for name in names if name not in known)
