"""The tables of every attacked run: each attack, and the attacks with a rate of their own."""

import math
from collections.abc import Mapping
from itertools import groupby
from typing import Final

from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.leaderboard.red_team import CURVE
from vlmguard.results.leaderboard.red_team_cells import (
    TWIN_NOT_RUN,
    brief,
    change_text,
    or_why,
    share_text,
    told,
    usual,
)
from vlmguard.results.leaderboard.red_team_model import RedTeam, Under
from vlmguard.results.leaderboard.red_team_rates import Share
from vlmguard.results.leaderboard.red_team_twins import NOT_RUN

__all__ = ["each_notes", "each_sheet", "rates_sheet"]

_EACH: Final = [
    "No attack: on the same samples. Changes: with the attack minus without, in points, paired by "
    "sample, with their 95 % intervals; not tested. Not run: there is no such run. Target "
    "alone refuses: the undefended target under the same attack.",
    "Only runs of the same target, defense, options, models, data, settings and judge are "
    "compared: any other counts as not run. A twin on another benchmark has that benchmark's own "
    "settings (temperature, length of answers).",
]
_LOOP: Final = (
    "ASR@k: by the scorer's verdict on the answer at which a loop ended, after as many tries at "
    "most as its name says, and its change is that of ASR@k; ASR@1: where that answer was the "
    "first. Attacks that ask once have ASR@1 alone."
)
_LEAKED: Final = (
    "Leaked: answers that repeat what a guard wrote, of those to requests where it wrote enough to "
    "be repeated. Without a defense nobody writes anything, and without the attack nothing looks "
    "for leaks."
)
_NOTHING_WRITTEN: Final = "nothing to leak"


def each_sheet(rows: list[RedTeam], title: str, names: Mapping[str, str]) -> Sheet:
    """A row for each attacked run with risky requests.

    Args:
        rows: Those of a benchmark.
        title: Its name.
        names: Short names of defenses by their labels.
    """
    shown = [(row, each) for row in rows for each in row.attacks if each.last.of]
    runs = [each for _, each in shown]
    of, of_twin = usual(each.last for each in runs), usual(each.twin.refused for each in runs)
    twins = {each.twin.title for each in runs if each.twin.refused}
    looped = any(each.looped for each in runs)
    loops = ["ASR@1 % ↓", "ASR@k % ↓", "Mean tries"] if looped else ["ASR % ↓"]
    sheet = Sheet(
        f"Each attack: {title}",
        [
            *("Target", "Defense", "Attack", "No attack ASR % ↓", *loops, "Change, points ↓"),
            *("Twin refusal % ↓", "Twin change, points ↓", "Target alone refuses %"),
        ],
        [],
        labels=3,
        compact=True,
    )
    for _, of_target in groupby(shown, key=lambda each: each[0].target):
        sheet.starts.add(len(sheet.rows))
        for row, under in of_target:
            cells = _cells(under, of, of_twin, looped, len(twins) > 1)
            sheet.rows.append([row.target, names[row.defense], brief(under.attack), *cells])
    sheet.notes += told(of, of_twin, twins)
    return sheet


def _cells(
    under: Under, of: int | None, of_twin: int | None, looped: bool, name_twin: bool
) -> list[str]:
    twin = under.twin
    refused, twin_change = TWIN_NOT_RUN, "-"
    if twin.refused is not None:
        named = f"\n{twin.title}" if name_twin else ""
        refused = f"{share_text(twin.refused, of_twin)}{named}"
        twin_change = change_text(twin.before, of_twin)
    tries = "-" if math.isnan(under.tries) else f"{under.tries:.1f}"
    loop = [share_text(under.last, of), tries] if under.looped else ["-", "-"]
    return [
        or_why(under.before, of),
        share_text(under.first, of),
        *(loop if looped else []),
        change_text(under.before, of),
        refused,
        twin_change,
        NOT_RUN if under.alone is None else share_text(under.alone, of),
    ]


def each_notes(rows: list[RedTeam]) -> list[str]:
    """What the columns of `each_sheet` mean, for those that it has."""
    looped = any(each.looped for row in rows for each in row.attacks)
    return [*_EACH, *([_LOOP] if looped else [])]


def rates_sheet(rows: list[RedTeam], title: str, names: Mapping[str, str]) -> Sheet:
    """Success by tries, leaks, and refusals of the harmless requests that an attack means.

    Args:
        rows: Those of a benchmark.
        title: Its name.
        names: Short names of defenses by their labels.
    """
    header = ["Target", "Defense", "Attack", "Rate", "Under attack %", "No attack %"]
    sheet = Sheet(f"Rates of their own: {title}", header, [], labels=4, compact=True)
    sheet.header += ["Change, points", "Scored"]
    for _, of_target in groupby(rows, key=lambda row: row.target):
        start = len(sheet.rows)
        for row in of_target:
            for under in row.attacks:
                labels = [row.target, names[row.defense], brief(under.attack)]
                sheet.rows += [[*labels, *line] for line in _other_lines(under)]
        if len(sheet.rows) > start:
            sheet.starts.add(start)
    if any(each.leaks is not None for row in rows for each in row.attacks):
        sheet.notes.append(_LEAKED)
    return sheet


def _other_lines(under: Under) -> list[list[str]]:
    """Success by tries of a loop; leaks; refusals of harmless requests that an attack means."""
    lines = [
        [f"ASR@{step}", *_rate(share, or_why(under.before, share.samples), "-")]
        for step, share in under.curve.items()
    ]
    if under.curve:
        steps = [f"ASR@{step}" for step in CURVE if step not in under.curve]
        lines += [[name, NOT_RUN, "-", "-", "-"] for name in steps]
    if under.leaks is not None:
        leaked = _rate(under.leaks, "-", "-")
        lines.append(["Leaked", *(leaked if under.leaks.of else [_NOTHING_WRITTEN, *leaked[1:]])])
    if under.card is not None and under.card.on == "benign":
        before, found = under.harmless_before, under.harmless
        name = "Refused of harmless"
        if found is None:
            lines.append([name, NOT_RUN, or_why(before), change_text(before), "-"])
        else:
            shown = [or_why(before, found.samples), change_text(before, found.samples)]
            lines.append([name, *_rate(found, *shown)])
    return lines


def _rate(share: Share, before: str, change: str) -> list[str]:
    """The cells of a rate; how many samples it has stands in the last one."""
    scored = f"{share.scored} of {share.of}"
    lines = [line for line in share_text(share, share.samples).split("\n") if line != scored]
    return ["\n".join(lines), before, change, scored if share.of else "-"]
