"""Sheets of a leaderboard as a paper prints them: names of methods, and a caption that says all."""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from vlmguard.guard.cards import cards
from vlmguard.results.formats.sheets import MARKS, Sheet, part_of
from vlmguard.results.leaderboard.model import CONTROLS, UNDEFENDED_LABEL, Group

__all__ = ["judges_said", "proper_name", "typeset"]

_DEFENSES: Final = ("Defense", "Best", "Against")
"""Headings of the columns that name defenses."""
_SOURCES: Final = {"ours": "Ours", "paper": "Published"}
_SCORED: Final = "Scored"
_ALL: Final = re.compile(r"(\d+) of \1(\n\d+ images?)?$")
_BEST: Final = "Bold: best mean{} of a target, underlined: second (controls aside; no test)."
_TESTED: Final = (
    "▲ better, ▼ worse than the undefended target: sign flips of whole images, Westfall-Young maxT "
    "over all differences, 95 % interval without zero."
)
_BELOW: Final = "Below a mean: paired difference to the undefended target, its 95 % interval."


def typeset(sheet: Sheet, intervals: bool = False) -> Sheet:
    """A sheet for a paper.

    Args:
        sheet: A table of a leaderboard.
        intervals: Whether it is printed with differences and intervals.

    Returns:
        The same with the names of methods from their cards, with a caption that says what signs and
        type mean, and without columns that say of every row that all was scored: the caption does.
    """
    columns = [number for number, name in enumerate(sheet.header) if name in _DEFENSES]
    rows = [
        [proper_name(cell) if number in columns else cell for number, cell in enumerate(row)]
        for row in sheet.rows
    ]
    complete = _complete(sheet)
    said = [sheet.caption, _all_scored(sheet, complete)]
    if sheet.best:
        said.append(_BEST.format(" of ours" if "Source" in sheet.header else ""))
    if any(sign in cell for row in rows for cell in row for sign in MARKS):
        said.append(_TESTED)
    if intervals and any("\n[" in cell and "\n+" in cell for row in rows for cell in row):
        said.append(_BELOW)
    if sheet.header[0] == "Source":
        rows = [[_SOURCES.get(row[0], row[0]), *row[1:]] for row in rows]
    named = replace(sheet, rows=rows, caption=" ".join(filter(None, said)))
    kept = [number for number in range(len(sheet.header)) if number not in complete]
    return part_of(named, kept, range(len(rows))) if complete else named


def proper_name(label: str) -> str:
    """The label of a defense with the name of its method in the place of the solver's name."""
    name = re.split(r"[^a-z0-9_]", label, maxsplit=1)[0]
    rest = label[len(name) :]
    if name == UNDEFENDED_LABEL or name in CONTROLS:
        return name.replace("_", " ").capitalize() + rest
    card = cards().defenses.get(name)
    return (card.title if card else name) + rest


def judges_said(groups: Iterable[Group]) -> str:
    """Who judged, for a caption: once if it is the same everywhere; empty without judges."""
    by_judge: dict[str, list[str]] = {}
    for group in groups:
        by_judge.setdefault(group.judge, []).append(group.title)
    if not any(by_judge):
        return ""
    if len(by_judge) == 1:
        return f"Judge: {next(iter(by_judge))}."
    told = [f"{judge or 'none'} ({', '.join(titles)})" for judge, titles in by_judge.items()]
    return f"Judges: {'; '.join(told)}."


def _complete(sheet: Sheet) -> dict[int, str]:
    """The columns that say of each row that the same number of answers was scored, and it."""
    found = {}
    for number, name in enumerate(sheet.header):
        cells = {row[number].split("\n")[0] for row in sheet.rows if row[number]}
        whole = all(_ALL.match(row[number]) for row in sheet.rows if row[number])
        if name == _SCORED and len(cells) == 1 and whole:
            found[number] = cells.pop().split(" ")[0]
    return found


def _all_scored(sheet: Sheet, complete: dict[int, str]) -> str:
    if not complete:
        return ""
    above = [title for title, width in sheet.spans for _ in range(width)]
    if len(set(complete.values())) == 1 and len(complete) == sheet.header.count(_SCORED):
        return f"n = {next(iter(complete.values()))} answers a row, all scored."
    told = ", ".join(f"{count} ({above[column]})" for column, count in complete.items())
    return f"Answers a row, all scored: {told}."
