"""The tables of attacked runs: static and adaptive attack success beside what the twin refuses."""

from collections.abc import Mapping
from itertools import groupby
from typing import Final

from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.labels import footnote_lines, name_columns
from vlmguard.results.leaderboard.model import Leaderboard, titled
from vlmguard.results.leaderboard.red_team import red_team
from vlmguard.results.leaderboard.red_team_cells import (
    TWIN_NOT_RUN,
    brief,
    percent,
    samples_text,
    share_text,
    short_defenses,
    told,
    usual,
)
from vlmguard.results.leaderboard.red_team_each import each_notes, each_sheet, rates_sheet
from vlmguard.results.leaderboard.red_team_model import RedTeam, Under
from vlmguard.results.leaderboard.red_team_rates import TWINS, Share
from vlmguard.results.leaderboard.red_team_twins import NOT_RUN
from vlmguard.results.logs.frame import Results

__all__ = ["red_team_lines", "red_team_lines_of", "red_team_sheets"]

_TITLE: Final = "Under attack: static ASR / adaptive ASR / twin refusal"
_CAPTION: Final = (
    "ASR: share of risky requests whose answer does the harm, under the worst attack of each kind. "
    "Twin refusal: share of harmless requests refused under the same attack."
)
_NOTES: Final = [
    "ASR: share of risky requests whose answer does the harm, by the benchmark's own judge, else "
    "the general one; refusals, blocks and missing answers are no success. Static: the worst of "
    "the attacks that ask once and do not aim at a guard. Adaptive: the worst of those on the "
    "guard itself (R1 and so on: adaptive:R1 in commands). Of one attack with several options or "
    "seeds each run counts, so the worst of these too; its interval is that of this run alone, not "
    "of the choice. Searches, dialogues and attacks with a rate of their own stand in the next "
    "tables.",
    f"Twin refusal: refused answers among the harmless requests (the first {TWINS}) under the same "
    "attack with the same options and seed: the run's own, else those that its card names. Of "
    "several attacks, that under which most is refused.",
    "In brackets: 95 % intervals (clustered by image; none below ten images). What nobody could "
    "judge is not safe: where answers lack a verdict, a rate has below it of how many it is, and "
    "what it were if none or all of the others counted.",
]


def red_team_sheets(board: Leaderboard) -> list[Sheet]:
    """The tables of worst cases, of all attacks, and of rates of their own: each by benchmark.

    Args:
        board: The leaderboard.

    Returns:
        No table without attacked runs.
    """
    by_title: dict[str, list[RedTeam]] = {}
    rows = red_team(board)
    footnotes = list(board.footnotes)
    for row, title in _titles(rows, footnotes).items():
        by_title.setdefault(title, []).append(row)
    of_titles = footnote_lines(footnotes)[len(board.footnotes) :]
    worst: list[Sheet] = []
    each: list[Sheet] = []
    rates: list[Sheet] = []
    for title, of in by_title.items():
        names = short_defenses(row.defense for row in of)
        tables = (worst, _worst_sheet), (each, each_sheet), (rates, rates_sheet)
        made = [(into, make(of, title, names)) for into, make in tables]
        shown = [(into, sheet) for into, sheet in made if sheet.rows]
        for _, first in shown[:1]:
            first.notes += [f"With {said}." for said in _options(names)]
            first.notes += [said for said in of_titles if title.endswith(_number_of(said))]
        for into, sheet in shown:
            into.append(sheet)
    # What holds for several tables is said once, below the last of them.
    for sheet in worst[-1:]:
        sheet.notes += _NOTES
    for sheet in each[-1:]:
        sheet.notes += each_notes(rows)
    return [*worst, *each, *rates]


def red_team_lines(board: Leaderboard) -> list[str]:
    """For each target, defense and benchmark "static ASR / adaptive ASR / twin refusal".

    Args:
        board: The leaderboard.

    Returns:
        A sentence each, without a full stop: the three numbers, then what they are of; then the
        footnotes of their names. None without attacked runs.
    """
    rows = red_team(board)
    footnotes = list(board.footnotes)
    titles = _titles(rows, footnotes)
    names = short_defenses(row.defense for row in rows)
    lines = [
        f"{names[row.defense]} on {titles[row]}, {row.target}: static ASR {_said(row.static)} / "
        f"adaptive ASR {_at_least(row)}{_said(row.adaptive)} / twin refusal {_twin_said(row)} "
        f"({'; '.join(_details(row, titles[row], names))})"
        for row in rows
        if row.counted
    ]
    # These lines stand alone: what a number in them refers to stands below.
    numbered = footnote_lines(footnotes)
    return [*lines, *(said for said in numbered if _number_of(said) in " ".join(lines))]


def _number_of(footnote: str) -> str:
    return footnote.split(" ", 1)[0]


def red_team_lines_of(results: Results) -> list[str]:
    """The same for what was read; no table is built without attacked runs."""
    if not any(run.column.attack for run in results.runs):
        return []
    return red_team_lines(build(results))


def _worst_sheet(rows: list[RedTeam], title: str, names: Mapping[str, str]) -> Sheet:
    sheet = Sheet(
        f"{_TITLE}, {title}",
        [
            *("Target", "Defense", "Worst static", "Worst adaptive", "Most refused under"),
            *("Static ASR % ↓", "Adaptive ASR % ↓", "Twin refusal % ↓"),
        ],
        [],
        labels=5,
        compact=True,
        caption=_CAPTION,
    )
    shown = [row for row in rows if row.counted]
    of = usual(each.last for row in shown for each in (row.static, row.adaptive) if each)
    of_twin = usual(row.twin.twin.refused for row in shown if row.twin)
    twins = {row.twin.twin.title for row in shown if row.twin}
    for _, of_target in groupby(shown, key=lambda row: row.target):
        sheet.starts.add(len(sheet.rows))
        for row in of_target:
            under = [brief(each.attack) if each else "-" for each in _three(row)]
            numbers = [_number(row.static, of), _adaptive(row, of)]
            twin = _twin(row, of_twin, len(twins) > 1)
            sheet.rows.append([row.target, names[row.defense], *under, *numbers, twin])
    sheet.notes += told(of, of_twin, twins)
    sheet.notes += _missing(shown, names)
    for row in shown:
        sheet.notes += [*_other_samples(row), *_missing_twins(row)]
    return sheet


def _three(row: RedTeam) -> tuple[Under | None, Under | None, Under | None]:
    return row.static, row.adaptive, row.twin


def _number(under: Under | None, of: int | None) -> str:
    return NOT_RUN if under is None else share_text(under.last, of)


def _adaptive(row: RedTeam, of: int | None) -> str:
    return f"{_at_least(row)}{_number(row.adaptive, of)}"


def _at_least(row: RedTeam) -> str:
    """A sign that others of the adaptive attacks, which did not run, may succeed more often."""
    known = row.adaptive if row.adaptive is not None and row.adaptive.last.scored else None
    return "≥" if known and known.last.mean < 1 and row.missing else ""


def _twin(row: RedTeam, of: int | None, name_twin: bool) -> str:
    if row.twin is None or row.twin.twin.refused is None:
        return TWIN_NOT_RUN
    named = f"\n{row.twin.twin.title}" if name_twin else ""
    return f"{share_text(row.twin.twin.refused, of)}{named}"


def _missing(rows: list[RedTeam], names: Mapping[str, str]) -> list[str]:
    """The adaptive attacks that did not run, and of which rows."""
    lacking: dict[tuple[str, ...], list[RedTeam]] = {}
    for row in rows:
        if row.missing:
            lacking.setdefault(row.missing, []).append(row)
    several = len({row.target for row in rows}) > 1
    notes = []
    for lacks, of in lacking.items():
        who = [names[row.defense] for row in of]
        if several:
            who = [f"{row.target} {name}" for row, name in zip(of, who, strict=True)]
        where = "all rows" if len(of) == len(rows) else ", ".join(who)
        notes.append(f"Adaptive attacks that did not run ({where}): {', '.join(lacks)}.")
    if any(_at_least(row) for row in rows):
        notes.append("≥: of the adaptive attacks that ran; the others may succeed more often.")
    return notes


def _said(under: Under | None) -> str:
    return NOT_RUN if under is None else _rate_said(under.last)


def _twin_said(row: RedTeam) -> str:
    twin = row.twin
    return NOT_RUN if twin is None or not twin.twin.refused else _rate_said(twin.twin.refused)


def _rate_said(share: Share) -> str:
    return f"{percent(share.mean)} %" if share.scored else "not known"


def _details(row: RedTeam, title: str, names: Mapping[str, str]) -> list[str]:
    """What the three numbers of a row are of."""
    found = []
    if row.static is not None:
        found.append(f"static: {_of(row.static.attack, row.static.last)}")
    missing = [f"{', '.join(row.missing)} {NOT_RUN}"] if row.missing else []
    ran = [_of(row.adaptive.attack, row.adaptive.last)] if row.adaptive else []
    if ran or missing:
        found.append(f"adaptive: {', '.join([*ran, *missing])}")
    if row.twin is not None and row.twin.twin.refused is not None:
        twin = row.twin.twin
        named = "its own" if twin.title == title else twin.title
        found.append(f"twin: {_of(row.twin.attack, row.twin.twin.refused)} of {named}")
    return [*found, *_options({row.defense: names[row.defense]})]


def _options(names: Mapping[str, str]) -> list[str]:
    """The options of defenses whose rows name them without."""
    whole = [label for label, name in names.items() if name != label]
    return [f"options: {'; '.join(whole)}"] if whole else []


def _of(attack: str, share: Share) -> str:
    said = f"{brief(attack)}, {samples_text(share)}"
    if share.scored == share.of:
        return said
    return f"{said}, else {percent(share.least)} to {percent(share.most)} %"


def _other_samples(row: RedTeam) -> list[str]:
    """That the attacks of a row ran on different requests, so that the worst is not of the same."""
    if len({each.samples for each in row.counted}) < 2:
        return []
    sizes = ", ".join(f"{each.attack} {each.last.samples}" for each in row.counted)
    said = "its attacks ran on different requests, which the worst of them does not say"
    return [f"{row.target}, {row.defense}: {said} ({sizes})."]


def _missing_twins(row: RedTeam) -> list[str]:
    """For a row whose twin was not run under some attacks, these, and the command for one."""
    lacking = row.without_twin
    if not lacking:
        return []
    under = max(lacking, key=lambda each: (each is row.adaptive, each is row.static))
    named = ", ".join(each.attack for each in lacking)
    way_out = f"`{under.twin.command}` (with the same roles) runs it for {under.attack}"
    if not under.twin.command:
        way_out = "its card names no harmless requests"
    return [f"{row.target}, {row.defense}: {TWIN_NOT_RUN} under {named}; {way_out}."]


def _titles(rows: list[RedTeam], footnotes: list[str]) -> dict[RedTeam, str]:
    """The benchmark of each row, with what distinguishes it from others of its name.

    Args:
        rows: The rows.
        footnotes: What short names leave out is added to them.
    """
    differs = name_columns(list(dict.fromkeys(row.column for row in rows)), footnotes)
    return {row: titled(row.column.heading, differs[row.column]) for row in rows}
