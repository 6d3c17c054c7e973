"""The tables of attacked runs: static and adaptive attack success beside what the twin refuses."""

import math
from itertools import groupby
from typing import Final

from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.red_team import CURVE, RedTeam, Under, red_team
from vlmguard.results.leaderboard.red_team_cells import (
    change_text,
    or_why,
    said,
    share_text,
    with_attack,
)
from vlmguard.results.leaderboard.red_team_rates import TWINS
from vlmguard.results.leaderboard.red_team_twins import NOT_RUN
from vlmguard.results.leaderboard.wording import set_apart
from vlmguard.results.logs.frame import Results

__all__ = ["TWIN_NOT_RUN", "red_team_lines", "red_team_lines_of", "red_team_sheets"]

_TWIN: Final = "twin: "
TWIN_NOT_RUN: Final = f"{_TWIN}{NOT_RUN}"
_NOTES: Final = [
    "ASR: share of risky requests whose answer does the harm, by the benchmark's own judge, else "
    "the general one; refusals, blocks and missing answers are no success. Static: the worst of "
    "the attacks that ask once and do not aim at a guard. Adaptive: the worst of those on the "
    "guard itself. Of one attack with several options or seeds each run counts, so the worst of "
    "these too; its interval is that of this run alone, not of the choice. Searches, dialogues and "
    "attacks with a rate of their own stand in the next tables.",
    f"Twin refusal: refused answers among the harmless requests (the first {TWINS}) under the same "
    "attack with the same options and seed: the run's own, else those that its card names. Of "
    "several attacks, that under which most is refused.",
    "In brackets: 95 % intervals (clustered by image; none below ten images). What nobody could "
    "judge is not safe: where answers lack a verdict, the rate if none or all of them did harm.",
]
_EACH: Final = [
    "No attack: on the same samples. Change: with the attack minus without, in points, paired by "
    "sample, with its 95 % interval and pairs; not tested. ASR@k: by the scorer's verdict on the "
    "answer at which a loop ended (k tries at most); ASR@1: where that was the first. Target alone "
    "refuses: the undefended target under the same attack.",
    "Only runs of the same target, defense, options, models, data, settings and judge are "
    "compared: any other counts as not run.",
]


def red_team_sheets(board: Leaderboard) -> list[Sheet]:
    """The table of worst cases, a table of all attacks, and one of rates of their own.

    Args:
        board: The leaderboard.

    Returns:
        No table without attacked runs.
    """
    rows = red_team(board)
    titles = _titles(rows)
    made = [_worst_sheet(rows, titles), _each_sheet(rows, titles), _other_sheet(rows, titles)]
    return [sheet for sheet in made if sheet.rows]


def red_team_lines(board: Leaderboard) -> list[str]:
    """For each target, defense and benchmark "static ASR / adaptive ASR / twin refusal".

    Args:
        board: The leaderboard.

    Returns:
        A sentence each; none without attacked runs.
    """
    rows = red_team(board)
    titles = _titles(rows)
    return [
        f"{row.defense} on {titles[row]}, {row.target}: "
        f"static ASR {said(_static(row))} / adaptive ASR {said(_adaptive(row))} / "
        f"twin refusal {said(_twin(row)).removeprefix(_TWIN)}"
        for row in rows
        if _counts(row)
    ]


def red_team_lines_of(results: Results) -> list[str]:
    """The same for what was read; no table is built without attacked runs."""
    if not any(run.column.attack for run in results.runs):
        return []
    return red_team_lines(build(results))


def _worst_sheet(rows: list[RedTeam], titles: dict[RedTeam, str]) -> Sheet:
    header = ["Target", "Defense", "Benchmark", "Static ASR % ↓", "Adaptive ASR % ↓"]
    title = "Under attack: static ASR / adaptive ASR / twin refusal"
    sheet = Sheet(title, [*header, "Twin refusal % ↓"], [], notes=list(_NOTES), labels=3)
    for _, of_target in groupby(filter(_counts, rows), key=lambda row: row.target):
        sheet.starts.add(len(sheet.rows))
        for row in of_target:
            labels = [row.target, row.defense, titles[row]]
            sheet.rows.append([*labels, _static(row), _adaptive(row), _twin(row)])
            sheet.notes += _missing_twins(row, titles[row])
    return sheet


def _each_sheet(rows: list[RedTeam], titles: dict[RedTeam, str]) -> Sheet:
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


def _other_sheet(rows: list[RedTeam], titles: dict[RedTeam, str]) -> Sheet:
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


def _static(row: RedTeam) -> str:
    return NOT_RUN if row.static is None else with_attack(row.static, row.static.last)


def _adaptive(row: RedTeam) -> str:
    shown = [] if row.adaptive is None else [with_attack(row.adaptive, row.adaptive.last)]
    missing = f"{', '.join(row.missing)} {NOT_RUN}" if row.missing else ""
    return "\n".join(filter(None, [*shown, missing])) or NOT_RUN


def _twin(row: RedTeam) -> str:
    under = row.twin
    if under is None or under.twin.refused is None:
        return TWIN_NOT_RUN
    return f"{with_attack(under, under.twin.refused)}\n{under.twin.title}"


def _missing_twins(row: RedTeam, title: str) -> list[str]:
    """For a row whose twin was not run under some attacks, these, and the command for one."""
    lacking = row.without_twin
    if not lacking:
        return []
    under = max(lacking, key=lambda each: (each is row.adaptive, each is row.static))
    named = ", ".join(each.attack for each in lacking)
    way_out = f"`{under.twin.command}` (with the same roles) runs it for {under.attack}"
    if not under.twin.command:
        way_out = "its card names no harmless requests"
    return [f"{row.target}, {row.defense}, {title}: {TWIN_NOT_RUN} under {named}; {way_out}."]


def _counts(row: RedTeam) -> bool:
    """Whether a static or adaptive attack on risky requests ran."""
    return any(each.kind != "other" and each.last.of for each in row.attacks)


def _titles(rows: list[RedTeam]) -> dict[RedTeam, str]:
    """The benchmark of each row, with what distinguishes it from others of its name."""
    columns = list(dict.fromkeys(row.column for row in rows))
    apart = {column: set_apart(column, columns) for column in columns}
    return {
        row: f"{row.column.heading} ({apart[row.column]})"
        if apart[row.column]
        else row.column.heading
        for row in rows
    }
