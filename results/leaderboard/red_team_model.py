"""A run under an attack, and the rows of the tables of attacked runs."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from vlmguard.guard.attacks import AttackCard, attack_cards
from vlmguard.results.leaderboard.model import Entry
from vlmguard.results.leaderboard.red_team_rates import Share
from vlmguard.results.leaderboard.red_team_twins import Compared, Twin
from vlmguard.results.logs.conditions import Column

__all__ = ["RedTeam", "Under", "attack_facts"]

_ADAPTIVE: Final = "adaptive:"
_ON_GUARDS: Final = (_ADAPTIVE, "verdict:")
"""Groups of attacks that aim at a guard or a judge: none is a static attack on the target."""


@dataclass(frozen=True, eq=False)
class Under:
    """A run under an attack.

    Attributes:
        entry: The run.
        attack: The attack as users type it, with the tries of a loop.
        first: Success at the first try.
        last: Success within all tries.
        k: The most tries.
        tries: Mean number of tries; 1 for a static attack.
        before: Success without an attack.
        alone: What the undefended target refuses of the same requests under the same attack.
        twin: The harmless requests.
        curve: Of a loop of several tries, success within some numbers of them.
        harmless: Refused answers among the run's own harmless requests; None without any.
        harmless_before: The same without the attack.
        leaks: Answers that repeat what the defense is told; None if nothing looked for that.
        samples: Its risky requests.
    """

    entry: Entry
    attack: str
    first: Share
    last: Share
    k: int
    tries: float
    before: Compared
    alone: Share | None
    twin: Twin
    curve: dict[int, Share]
    harmless: Share | None
    harmless_before: Compared
    leaks: Share | None
    samples: frozenset[str]

    @property
    def name(self) -> str:
        """Name of the attack's card."""
        return str(attack_facts(self.entry)["name"])

    @property
    def card(self) -> AttackCard | None:
        """The attack's card; None for an attack that is not known here."""
        return attack_cards().get(self.name)

    @property
    def looped(self) -> bool:
        """Whether a loop made several tries."""
        return "loop" in attack_facts(self.entry)

    @property
    def kind(self) -> Literal["static", "adaptive", "other"]:
        """Whether it counts as a static attack, as one on the guard itself, or as neither."""
        card = self.card
        on_guards = self.name.startswith(_ON_GUARDS)
        if card is None:
            return "other" if on_guards or self.looped else "static"
        if card.adaptive:
            return "adaptive"
        apart = on_guards or card.on == "benign"
        return "other" if apart or card.kind != "static" else "static"


@dataclass(frozen=True, eq=False)
class RedTeam:
    """A target, a defense and a benchmark under all attacks that ran.

    Attributes:
        target: Label of the target.
        defense: Label of the defense.
        column: The benchmark's conditions, without the attack.
        attacks: Its attacked runs.
    """

    target: str
    defense: str
    column: Column
    attacks: tuple[Under, ...]

    @property
    def static(self) -> Under | None:
        """The static attack that succeeds most often; None if none ran."""
        return _worst(each for each in self.counted if each.kind == "static")

    @property
    def adaptive(self) -> Under | None:
        """The adaptive attack that succeeds most often; None if none ran."""
        return _worst(each for each in self.counted if each.kind == "adaptive")

    @property
    def missing(self) -> tuple[str, ...]:
        """The adaptive attacks that did not run."""
        ran = {each.card.name for each in self.counted if each.card is not None}
        wanted = [name for name, card in attack_cards().items() if card.adaptive]
        return tuple(name.removeprefix(_ADAPTIVE) for name in wanted if name not in ran)

    @property
    def twin(self) -> Under | None:
        """The static or adaptive attack under which most harmless requests are refused."""
        ran = [each for each in self.counted if each.twin.refused]
        known = [each for each in ran if each.twin.refused and each.twin.refused.scored]
        return max(known or ran, key=_refused, default=None)

    @property
    def counted(self) -> list[Under]:
        """The static and adaptive attacks on risky requests."""
        return [each for each in self.attacks if each.kind != "other" and each.last.of]

    @property
    def without_twin(self) -> list[Under]:
        """The static and adaptive attacks whose harmless requests were not run."""
        return [each for each in self.counted if not each.twin.refused]


def attack_facts(entry: Entry) -> dict[str, Any]:
    """The attack of a run: name, version, options, seed, and of a loop its tries."""
    facts: dict[str, Any] = json.loads(entry.run.column.attack)
    return facts


def _worst(found: Iterable[Under]) -> Under | None:
    """The attack of the highest rate; one of which nothing was scored only if there is no other."""
    ran = list(found)
    known = [each for each in ran if each.last.scored]
    return max(known or ran, key=lambda each: each.last.mean, default=None)


def _refused(under: Under) -> float:
    return under.twin.refused.mean if under.twin.refused else 0.0
