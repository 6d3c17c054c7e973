"""The tables of every attacked run: each attack, and the attacks with a rate of their own."""

import math
from itertools import groupby
from typing import Final

from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.leaderboard.red_team import CURVE
from vlmguard.results.leaderboard.red_team_cells import (
    TWIN_NOT_RUN,
    change_text,
    or_why,
    share_text,
)
from vlmguard.results.leaderboard.red_team_model import RedTeam, Under
from vlmguard.results.leaderboard.red_team_twins import NOT_RUN

__all__ = ["each_sheet", "rates_sheet"]

_EACH: Final = [
    "No attack: on the same samples. Change: with the attack minus without, in points, paired by "
    "sample, with its 95 % interval and pairs; not tested. ASR@k: by the scorer's verdict on the "
    "answer at which a loop ended (k tries at most); ASR@1: where that was the first. Target alone "
    "refuses: the undefended target under the same attack.",
    "Only runs of the same target, defense, options, models, data, settings and judge are "
    "compared: any other counts as not run. A twin on another benchmark has that benchmark's own "
    "settings (temperature, length of answers).",
]


def each_sheet(rows: list[RedTeam], titles: dict[RedTeam, str]) -> Sheet:
    """A row for each attacked run with risky requests."""
    sheet = Sheet(
        "Each attack",
        [
            *("Target", "Defense", "Benchmark", "Attack", "No attack ASR % ↓", "ASR@1 % ↓"),
            *("ASR@k % ↓", "Mean tries", "Change, points ↓", "Twin refusal % ↓"),
            *("Twin change, points ↓", "Target alone refuses %", "Scored"),
        ],
        [],
        notes=list(_EACH),
        labels=4,
    )
    for _, of_target in groupby(rows, key=lambda row: row.target):
        start = len(sheet.rows)
        for row in of_target:
            shown = [each for each in row.attacks if each.last.of]
            sheet.rows += [
                [row.target, row.defense, titles[row], each.attack, *_cells(each)] for each in shown
            ]
        if len(sheet.rows) > start:
            sheet.starts.add(start)
    return sheet


def _cells(under: Under) -> list[str]:
    twin = under.twin
    return [
        or_why(under.before, "no attack: "),
        share_text(under.first),
        f"{share_text(under.last)}\nk {under.k}",
        "-" if math.isnan(under.tries) else f"{under.tries:.1f}",
        change_text(under.before, "no attack: "),
        TWIN_NOT_RUN if twin.refused is None else f"{share_text(twin.refused)}\n{twin.title}",
        TWIN_NOT_RUN if twin.refused is None else change_text(twin.before, "twin, no attack: "),
        NOT_RUN if under.alone is None else share_text(under.alone),
        f"{under.last.scored} of {under.last.of}",
    ]


def rates_sheet(rows: list[RedTeam], titles: dict[RedTeam, str]) -> Sheet:
    """Success by tries, leaks, and refusals of the harmless requests that an attack means."""
    header = ["Target", "Defense", "Benchmark", "Attack", "Rate", "Under attack %", "No attack %"]
    sheet = Sheet("Rates of their own", [*header, "Change, points"], [], labels=5)
    for row in rows:
        for under in row.attacks:
            labels = [row.target, row.defense, titles[row], under.attack]
            sheet.rows += [[*labels, *line] for line in _other_lines(under)]
    return sheet


def _other_lines(under: Under) -> list[list[str]]:
    """Success by tries of a loop; leaks; refusals of harmless requests that an attack means."""
    lines = [
        [f"ASR@{step}", share_text(share), or_why(under.before, "no attack: "), "-"]
        for step, share in under.curve.items()
    ]
    if under.curve:
        steps = [f"ASR@{step}" for step in CURVE if step not in under.curve]
        lines += [[name, f"{NOT_RUN} ({under.k} tries)", "-", "-"] for name in steps]
    if under.leaks is not None:
        lines.append(["Leaked", share_text(under.leaks), "-", "-"])
    if under.card is not None and under.card.on == "benign":
        before = under.harmless_before
        refused = f"harmless requests: {NOT_RUN}"
        refused = refused if under.harmless is None else share_text(under.harmless)
        shown = [or_why(before, "no attack: "), change_text(before, "no attack: ")]
        lines.append(["Refused of harmless", refused, *shown])
    return lines
