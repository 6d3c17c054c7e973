"""What attacks achieve: how often they succeed, and what a defense refuses of harmless requests.

The attack success rate (ASR) is the share of risky requests whose answer does the harm
(`guard/attacks/success.py`). An attacked run is compared with runs of the same target, defense,
options, data, settings and judge alone: without an attack, sample by sample; and under the same
attack with the same options and seed, on harmless requests (its twin).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from vlmguard.guard.attacks import AttackCard, attack_cards
from vlmguard.guard.attacks.success import mean_tries
from vlmguard.results.leaderboard.model import Entry, Leaderboard
from vlmguard.results.leaderboard.red_team_rates import (
    Share,
    has_harmless,
    has_risky,
    leaks,
    refusals,
    share_of,
    verdicts,
    within,
)
from vlmguard.results.leaderboard.red_team_twins import (
    REFUSAL,
    Compared,
    Twin,
    compared,
    plain,
    twin_of,
)
from vlmguard.results.logs.conditions import Column

__all__ = ["CURVE", "RedTeam", "Under", "red_team", "short_name"]

_ADAPTIVE: Final = "adaptive:"
_ON_GUARDS: Final = (_ADAPTIVE, "verdict:")
"""Groups of attacks that aim at a guard or a judge: none is a static attack on the target."""

CURVE: Final = (1, 5, 20)
"""The tries at which a loop's success is shown."""


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

    @property
    def name(self) -> str:
        """Name of the attack's card."""
        return str(_facts(self.entry)["name"])

    @property
    def card(self) -> AttackCard | None:
        """The attack's card; None for an attack that is not known here."""
        return attack_cards().get(self.name)

    @property
    def kind(self) -> Literal["static", "adaptive", "other"]:
        """Whether it counts as a static attack, as one on the guard itself, or as neither."""
        card = self.card
        if card is None:
            return "other" if "loop" in _facts(self.entry) else "static"
        if card.adaptive:
            return "adaptive"
        apart = card.name.startswith(_ON_GUARDS) or card.on == "benign"
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
        return _worst(each for each in self.attacks if each.kind == "static")

    @property
    def adaptive(self) -> Under | None:
        """The adaptive attack that succeeds most often; None if none ran."""
        return _worst(each for each in self.attacks if each.kind == "adaptive")

    @property
    def missing(self) -> tuple[str, ...]:
        """The adaptive attacks that did not run."""
        ran = {each.card.name for each in self.attacks if each.card is not None}
        wanted = [name for name, card in attack_cards().items() if card.adaptive]
        return tuple(short_name(name) for name in wanted if name not in ran)

    @property
    def twin(self) -> Under | None:
        """The static or adaptive attack under which most harmless requests are refused."""
        ran = [each for each in self.attacks if each.kind != "other" and each.twin.refused]
        known = [each for each in ran if each.twin.refused and each.twin.refused.scored]
        return max(known or ran, key=_refused, default=None)

    @property
    def without_twin(self) -> list[Under]:
        """The static and adaptive attacks whose harmless requests were not run."""
        return [each for each in self.attacks if each.kind != "other" and not each.twin.refused]


def red_team(board: Leaderboard) -> list[RedTeam]:
    """A row for each target, defense and benchmark that ran under an attack.

    Args:
        board: The leaderboard; its attacked runs and the others.

    Returns:
        Rows of risky requests; of harmless ones alone only where an attack means these, or where
        leaks were looked for. Undefended targets come first.
    """
    attacked = board.attacked
    if attacked is None:
        return []
    rows: dict[tuple[str, str, Column], list[Under]] = {}
    places = {row: number for number, row in enumerate(attacked.rows())}
    for entry in sorted(attacked.entries, key=lambda each: places[each.target, each.defense]):
        card = attack_cards().get(str(_facts(entry)["name"]))
        meant = card is not None and card.on == "benign"
        if has_risky(entry.run) or meant or leaks(entry.run) is not None:
            key = (entry.target, entry.defense, plain(entry.run.column))
            rows.setdefault(key, []).append(_under(board, entry))
    return [
        RedTeam(*key, tuple(sorted(under, key=lambda each: each.attack)))
        for key, under in rows.items()
    ]


def short_name(name: str) -> str:
    """A name without its group: `R2` for `adaptive:R2`."""
    return name.removeprefix(_ADAPTIVE)


def _under(board: Leaderboard, entry: Entry) -> Under:
    run, facts = entry.run, _facts(entry)
    found = verdicts(run)
    k = int(facts.get("tries") or 1)
    whole = within(found, k)
    attacked = board.attacked
    bare = entry if attacked is None else attacked.undefended(entry) or entry
    undefended = bare is not entry or run.defense == "none"
    # One step is no curve.
    steps = [step for step in CURVE if step <= k] if k >= CURVE[1] else []
    leaked = leaks(run)
    return Under(
        entry=entry,
        attack=run.column.under,
        first=share_of(within(found, 1)),
        last=share_of(whole),
        k=k,
        tries=mean_tries(found["tries"]),
        before=compared(board, run, whole, lambda other: within(verdicts(other), 1)),
        alone=share_of(refusals(bare.run, False), whole.index) if undefended else None,
        twin=twin_of(board, entry),
        curve={step: share_of(within(found, step)) for step in steps},
        harmless=share_of(refusals(run, True)) if has_harmless(run) else None,
        harmless_before=compared(
            board, run, refusals(run, True), lambda other: refusals(other, True), REFUSAL
        ),
        leaks=None if leaked is None else share_of(leaked),
    )


def _facts(entry: Entry) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(entry.run.column.attack)
    return facts


def _worst(found: Iterable[Under]) -> Under | None:
    """The attack of the highest rate; one of which nothing was scored only if there is no other."""
    ran = list(found)
    known = [each for each in ran if each.last.scored]
    return max(known or ran, key=lambda each: each.last.mean, default=None)


def _refused(under: Under) -> float:
    return under.twin.refused.mean if under.twin.refused else 0.0
