"""The runs beside an attacked run: itself without the attack, and its twin.

A twin is the harmless requests under the same attack, with its options and seed, behind the same
defense. A defense that merely refuses odd pictures shows there.
"""

import json
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from vlmguard.guard.cards import Card, cards
from vlmguard.results.leaderboard.beside import card_of
from vlmguard.results.leaderboard.model import UNDEFENDED_LABEL, Entry, Leaderboard
from vlmguard.results.leaderboard.red_team_rates import (
    TWINS,
    Share,
    Values,
    change_of,
    has_harmless,
    refusals,
    share_of,
    twin_refusals,
)
from vlmguard.results.logs.attack import LOOP, attack_text
from vlmguard.results.logs.conditions import Column, sampling_of
from vlmguard.results.logs.frame import row_key
from vlmguard.results.logs.run import Run
from vlmguard.results.stats.differences import Difference

__all__ = ["NOT_RUN", "REFUSAL", "Compared", "Twin", "compared", "plain", "twin_of"]

NOT_RUN: Final = "not run"
REFUSAL: Final = "refusal"
"""The scorer of refusals, on which no judge depends."""

_OTHER_JUDGE: Final = "judged in another way"
_NOTHING_SHARED: Final = "no shared sample"


@dataclass(frozen=True)
class Compared:
    """A rate without the attack.

    Attributes:
        share: The rate, on the samples of the attacked run; None if there is no such run.
        change: With the attack minus without, paired by sample.
        why: In words, why there is none.
    """

    share: Share | None = None
    change: Difference | None = None
    why: str = ""


@dataclass(frozen=True)
class Twin:
    """The harmless requests under the same attack.

    Attributes:
        title: Their benchmark; empty if they were not run.
        refused: The share of refused answers among the first hundred.
        before: The same without the attack.
        command: What would run them; empty if they were run, or if no card names any.
    """

    title: str = ""
    refused: Share | None = None
    before: Compared = Compared()
    command: str = ""


def plain(column: Column) -> Column:
    """The same conditions without an attack."""
    return replace(column, attack="")


def compared(
    board: Leaderboard,
    run: Run,
    under: Values,
    read: Callable[[Run], Values],
    scorer: str = "",
) -> Compared:
    """A rate of an attacked run beside that of the same run without the attack.

    Args:
        board: The leaderboard.
        run: The attacked run.
        under: Its values.
        read: Takes the values of the other run.
        scorer: The scorer that gave them; by default all must judge in the same way.
    """
    alike = [
        other
        for other in board.runs
        if not other.repeat
        and row_key(other) == row_key(run)
        and replace(plain(run.column), judging="") == replace(other.column, judging="")
    ]
    wanted = _judged_by(run.column, scorer)
    same = [other for other in alike if _judged_by(other.column, scorer) == wanted]
    if not same:
        return Compared(why=_OTHER_JUDGE if alike else NOT_RUN)
    before = read(same[0])
    if not before.index.intersection(under.index).size:
        return Compared(why=_NOTHING_SHARED)
    return Compared(share_of(before, under.index), change_of(before, under))


def twin_of(board: Leaderboard, entry: Entry) -> Twin:
    """The harmless requests under the same attack: those of the run, else of its partner.

    Args:
        board: The leaderboard.
        entry: The attacked run.
    """
    run = entry.run
    found = run if has_harmless(run) else _partner(board, run)
    if found is None:
        return Twin(command=_command(entry))
    refused = twin_refusals(found)
    column = found.column
    return Twin(
        title=plain(column).heading,
        refused=share_of(refused),
        # Another run may have its samples in another order, so all of its harmless ones are read.
        before=compared(board, found, refused, lambda other: refusals(other, True), REFUSAL),
    )


def _judged_by(column: Column, scorer: str) -> object:
    if not scorer:
        return column.judging
    facts: dict[str, object] = json.loads(column.judging) if column.judging else {}
    return facts.get(scorer)


def _partner(board: Leaderboard, run: Run) -> Run | None:
    """The run of the harmless requests that the benchmark's card names.

    Of several one with the settings of this run, else the largest: a benchmark may have settings of
    its own, so that no run of it has the same.
    """
    card = card_of(run.column)
    if card is None or card.partner is None:
        return None
    named = card.partner.benchmark
    runs = [
        other
        for other in board.runs
        if not other.repeat
        and other.column.attack == run.column.attack
        and row_key(other) == row_key(run)
        and (of := card_of(other.column)) is not None
        and of.name == named
        and has_harmless(other)
    ]

    def fitting(other: Run) -> tuple[bool, int]:
        return sampling_of(other.column) == sampling_of(run.column), len(other.answers)

    return max(runs, key=fitting, default=None)


def _command(entry: Entry) -> str:
    """What would run the harmless requests; empty if the benchmark's card names none."""
    run = entry.run
    card = card_of(run.column)
    named = card.partner if card is not None else None
    partner = cards().benchmarks.get(named.benchmark) if named is not None else None
    if named is None or partner is None:
        return ""
    facts = json.loads(run.column.attack)
    text = attack_text(run.column.attack)
    chosen = {**_chosen(partner), **named.args}
    words = ["inspect", "eval", f"vlmguard/{partner.task or partner.name}"]
    words += _options("-T", chosen.items())
    args = json.loads(run.defense_args) if run.defense_args else {}
    target = run.target
    if "loop" in facts:
        words += ["--solver", LOOP, "-S", f"attack={text}", "-S", f"tries={facts['tries']}"]
        words += _options("-S", facts["loop"].items())
        defended = entry.defense != UNDEFENDED_LABEL
        target = f"guarded/{run.defense}/{run.target}" if defended else run.target
        words += ["--model", target, *_options("-M", args.items())]
    else:
        words += ["-T", f"attack={text}"]
        words += ["--solver", run.defense] if run.defense != "none" else []
        words += [*_options("-S", args.items()), "--model", target]
    return shlex.join([*words, "--limit", str(TWINS)])


def _chosen(card: Card) -> dict[str, str]:
    return dict(card.chosen_by) if card.task else {}


def _options(flag: str, values: Iterable[tuple[str, object]]) -> list[str]:
    return [word for name, value in values for word in (flag, f"{name}={value}")]
