"""Harm beside harmless: what a defense gains on risky requests, and what it costs on others.

Whether a group of runs holds risky or harmless requests (or both, and is its own partner) follows
from its samples: harmless ones have `expected=comply`. Which benchmark holds the harmless requests
for a set of risky ones stands on its card (`Partner`). Harmless requests that belong to no set of
risky ones, as those of tests of ability do, say what a defense costs in general.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vlmguard.guard.cards import Card, cards
from vlmguard.results.leaderboard.model import (
    UNDEFENDED_LABEL,
    Beside,
    Entry,
    Group,
    Leaderboard,
)
from vlmguard.results.logs.answers import views
from vlmguard.results.logs.conditions import Column
from vlmguard.results.logs.measures import (
    ENDPOINT,
    Measure,
    benign_half,
    common_measures,
    counts_help,
    is_refusal,
)
from vlmguard.results.stats.differences import Difference

RISKY: Final = "risky"
HARMLESS: Final = "harmless"
MIXED: Final = "mixed"
_BENIGN: Final = "comply"
_NAMED: Final = 2
"""The most other sets that a cell names."""


def kind_of(expected: Iterable[str]) -> str:
    """`harmless`, `risky` or `mixed`, by the `expected` of all samples; empty if none has one."""
    found = {each for each in expected if each}
    if not found:
        return ""
    if found == {_BENIGN}:
        return HARMLESS
    return MIXED if _BENIGN in found else RISKY


def card_of(column: Column) -> Card | None:
    """The card of a group's benchmark; None for a task of others."""
    settings: dict[str, Any] = json.loads(column.settings) if column.settings else {}
    return cards().benchmark(column.benchmark, settings)


def in_order(groups: Sequence[Group]) -> list[Group]:
    """Groups with each harm set's harmless partners directly beside it, and general ones last.

    Args:
        groups: In the order of their titles; sets that share a partner come together.
    """
    harm = [group for group in groups if group.kind != HARMLESS]
    own = [group for group in groups if group.kind == HARMLESS and not _is_general(group)]
    general = [group for group in groups if _is_general(group)]
    families = dict.fromkeys(_family(group) for group in [*harm, *own])
    placed = [
        group
        for family in families
        for of in (harm, own)
        for group in of
        if _family(group) == family
    ]
    return [*placed, *general]


def pair_up(board: Leaderboard) -> None:
    """Fill in what stands beside what (`board.beside`), and each row that nothing stands beside."""
    rows = board.rows()
    for target in dict.fromkeys(target for target, _ in rows):
        defenses = [defense for of, defense in rows if of == target]
        for group in board.groups:
            measure = utility_of(group) if _is_general(group) else None
            for defense in defenses:
                entry = board.find(target, defense, group)
                if entry is None:
                    continue
                if group.kind in (RISKY, MIXED):
                    board.beside += _of_entry(board, entry)
                elif measure is not None:
                    found = _Found(group, measure)
                    board.beside.append(_beside(board, (target, defense), None, "", found))


def partners_of(board: Leaderboard, entry: Entry) -> list[str]:
    """Titles of the harmless requests that stand beside a row of a harm set."""
    return [
        each.partner.title
        for each in board.beside
        if each.partner
        and (each.target, each.defense, each.group) == (entry.target, entry.defense, entry.group)
    ]


def utility_change(board: Leaderboard, entry: Entry, name: str) -> Difference | None:
    """What a row changes in a measure that stands beside a harm set; None for all others."""
    for each in board.beside:
        row = (each.target, each.defense, each.partner, each.partner_measure)
        if row == (entry.target, entry.defense, entry.group, name):
            return each.change
    return None


def harm_of(group: Group) -> Measure | None:
    """The measure of a harm set: its headline, or the view of its risky samples, else another.

    Of a group of both kinds the view comes first.
    """
    shown = {measure.name: measure for measure in group.primary if measure.better}
    of_risky = [each.name for each in _views(shown.values(), benign=False)]
    first = [*of_risky, group.headline] if group.kind == MIXED else [group.headline, *of_risky]
    names = [name for name in (*first, group.endpoint, *shown) if name in shown]
    return shown[names[0]] if names else None


def utility_of(group: Group) -> Measure | None:
    """The measure in which lost ability and needless refusals show; None without one.

    Measures of help come before those of refusals alone, in which an answer without any use to
    anyone costs nothing. Of harmless requests: the headline, if it falls where everything is
    refused; else a view of benign samples (the benchmark's own before the one that all have); else
    another that falls. Of a group of both kinds only what is of its benign samples.
    """
    shown = [measure for measure in group.primary if measure.better]
    common = common_measures()
    of_benign = sorted(_views(shown, benign=True), key=lambda each: each.name in common)
    if group.kind == MIXED:
        halves = [each for each in group.measures if each.benign]
        helping = [each for each in of_benign if counts_help(each) and not is_refusal(each)]
        return next(iter([*helping, *halves, *of_benign]), None)
    known = {each.name: each for each in shown if counts_help(each)}
    own = [each.name for each in of_benign if each.name not in common]
    names = [name for name in (group.headline, *own, ENDPOINT, *known) if name in known]
    found = sorted((known[name] for name in names), key=is_refusal)
    return next(iter(found), None)


def benign_halves(measures: Sequence[Measure], headline: str, kind: str) -> list[Measure]:
    """What a group of both kinds needs to show the use of its benign samples: one measure, or none.

    None where a view of the benchmark's own says it, or no measure is of help.

    Args:
        measures: The measures of the group.
        headline: Name of the headline.
        kind: The kind of its requests.
    """
    helping = {
        each.name: each
        for each in measures
        if each.primary and counts_help(each) and not is_refusal(each)
    }
    if kind != MIXED or _views(helping.values(), benign=True):
        return []
    whole = {name: each for name, each in helping.items() if each.column not in views()}
    names = [name for name in (headline, ENDPOINT, *whole) if name in whole]
    return [benign_half(whole[name]) for name in names[:1]]


def _views(measures: Iterable[Measure], benign: bool) -> list[Measure]:
    """The measures that take only benign samples, or only risky ones."""
    known = views()
    return [each for each in measures if known.get(each.column, ("", None))[1] is benign]


@dataclass(frozen=True)
class _Found:
    group: Group
    measure: Measure


def _of_entry(board: Leaderboard, entry: Entry) -> list[Beside]:
    """A harm set's row beside each of its partners; with the reason if there is none."""
    group = entry.group
    harm = harm_of(group)
    name = harm.name if harm else ""
    row = (entry.target, entry.defense)
    partners = [found for found in _partners(board.groups, group) if board.find(*row, found.group)]
    if partners:
        return [_beside(board, row, group, name, found) for found in partners]
    said = _why(board, entry)
    entry.unpaired = "" if entry.defense == UNDEFENDED_LABEL else said
    return [Beside(*row, group, name, None, "", said)]


def _beside(
    board: Leaderboard, row: tuple[str, str], group: Group | None, name: str, found: _Found
) -> Beside:
    """A row beside harmless requests, with what it changes there."""
    partner = board.find(*row, found.group)
    change = partner.cells[found.measure.name].difference if partner else None
    turned = change.turned(found.measure.better) if change else None
    return Beside(*row, group, name, found.group, found.measure.name, change=turned)


def _why(board: Leaderboard, entry: Entry) -> str:
    """In words, that nothing harmless stands beside a row of a harm set."""
    others = [
        group.title
        for group in board.groups
        if group is not entry.group
        and group.column.attack == entry.group.column.attack
        and utility_of(group)
        and group.kind in (HARMLESS, MIXED)
        and board.find(entry.target, entry.defense, group)
    ]
    if others:
        card = card_of(entry.group.column)
        named = card.partner.benchmark if card and card.partner else ""
        known = cards().benchmarks.get(named)
        own = f" of its own ({known.title if known else named})" if named else " of its own"
        titles = list(dict.fromkeys(others))
        more = f" and {len(titles) - _NAMED} more" if len(titles) > _NAMED else ""
        return f"no harmless partner run{own}: see {', '.join(titles[:_NAMED])}{more}"
    if entry.defense == UNDEFENDED_LABEL:
        return "no harmless partner run"
    return "no harmless partner run: nothing here says what the defense costs"


def _partners(groups: Sequence[Group], group: Group) -> list[_Found]:
    """The harmless groups that belong to a harm set, or itself; of the same judge, if any is."""
    if group.kind == MIXED:
        measure = utility_of(group)
        return [_Found(group, measure)] if measure else []
    found = [
        _Found(each, measure)
        for each in groups
        if each.kind == HARMLESS
        # Requests under another attack, or under none, say nothing about this one.
        and each.column.attack == group.column.attack
        and _family(each) == _family(group)
        and (measure := utility_of(each))
    ]
    alike = [each for each in found if each.group.judge == group.judge]
    return alike or found


def _family(group: Group) -> str:
    """The benchmark with the harmless requests of a group; its own for other harmless ones."""
    card = card_of(group.column)
    if card is None:
        return group.column.benchmark
    return card.partner.benchmark if card.partner else card.name


def _is_general(group: Group) -> bool:
    """Whether harmless requests belong to no set of risky ones."""
    card = card_of(group.column)
    return group.kind == HARMLESS and (card is None or card.partner is None)
