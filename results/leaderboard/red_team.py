"""What attacks achieve: how often they succeed, and what a defense refuses of harmless requests.

The attack success rate (ASR) is the share of risky requests whose answer does the harm
(`guard/attacks/success.py`). An attacked run is compared with runs of the same target, defense,
options, data, settings and judge alone: without an attack, sample by sample; and under the same
attack with the same options and seed, on harmless requests (its twin).
"""

from typing import Final
from weakref import WeakKeyDictionary

from vlmguard.guard.attacks import attack_cards
from vlmguard.guard.attacks.success import mean_tries
from vlmguard.results.leaderboard.model import Entry, Leaderboard
from vlmguard.results.leaderboard.red_team_model import RedTeam, Under, attack_facts
from vlmguard.results.leaderboard.red_team_rates import (
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
    compared,
    plain,
    twin_of,
)
from vlmguard.results.logs.conditions import Column

__all__ = ["CURVE", "red_team"]

CURVE: Final = (1, 5, 20)
"""The tries at which a loop's success is shown."""
_FOUND: Final[WeakKeyDictionary[Leaderboard, tuple[RedTeam, ...]]] = WeakKeyDictionary()
"""Rows of a board that exists: tables, files and figures ask for them, and they take seconds."""


def red_team(board: Leaderboard) -> list[RedTeam]:
    """A row for each target, defense and benchmark that ran under an attack.

    Args:
        board: The leaderboard; its attacked runs and the others.

    Returns:
        Rows of risky requests; of harmless ones alone only where an attack means these, or where
        leaks were looked for. Undefended targets come first.
    """
    if board not in _FOUND:
        _FOUND[board] = tuple(_rows(board))
    return list(_FOUND[board])


def _rows(board: Leaderboard) -> list[RedTeam]:
    attacked = board.attacked
    if attacked is None:
        return []
    rows: dict[tuple[str, str, Column], list[Under]] = {}
    places = {row: number for number, row in enumerate(attacked.rows())}
    for entry in sorted(attacked.entries, key=lambda each: places[each.target, each.defense]):
        card = attack_cards().get(str(attack_facts(entry)["name"]))
        meant = card is not None and card.on == "benign"
        if has_risky(entry.run) or meant or leaks(entry.run) is not None:
            key = (entry.target, entry.defense, plain(entry.run.column))
            rows.setdefault(key, []).append(_under(board, entry))
    return [
        RedTeam(*key, tuple(sorted(under, key=lambda each: each.attack)))
        for key, under in rows.items()
    ]


def _under(board: Leaderboard, entry: Entry) -> Under:
    run, facts = entry.run, attack_facts(entry)
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
        samples=frozenset(map(str, whole.index)),
    )
