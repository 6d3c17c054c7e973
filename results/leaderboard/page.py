"""The leaderboard as one HTML page: tables that are sorted, filtered, opened and copied."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, Final

from vlmguard.results.formats.copies import copies
from vlmguard.results.formats.sheets import part_of
from vlmguard.results.formats.templating import render
from vlmguard.results.leaderboard.all_tables import attacked_sheets
from vlmguard.results.leaderboard.beside_tables import beside_sheet, control_note
from vlmguard.results.leaderboard.extras import Extras
from vlmguard.results.leaderboard.field import field_sheet
from vlmguard.results.leaderboard.figures.page import FIGURE_COLOURS, Shown
from vlmguard.results.leaderboard.model import UNDEFENDED_LABEL, Leaderboard
from vlmguard.results.leaderboard.panels import difference_tip, panels, scored_tip
from vlmguard.results.leaderboard.published_numbers import Published
from vlmguard.results.leaderboard.red_team_tables import red_team_sheets
from vlmguard.results.leaderboard.sections import Names, Section, sections
from vlmguard.results.leaderboard.tables import (
    COST_NOTES,
    LEGEND,
    duel_sheet,
    gain_sheet,
    left_out_sheet,
    main_sheet,
    published_sheet,
    tested_note,
)
from vlmguard.results.leaderboard.typeset import typeset

__all__ = ["page"]

_SEVERAL: Final = 2
"""Targets from which on an average over targets says more than a row does."""
_LEGEND: Final = [
    "Below a mean: paired difference to the undefended target; point at it, or open the row, for "
    "its 95 % interval (clustered by image; none below ten images) and why it is marked or not. "
    "▲ better, ▼ worse: the test decides, corrected for all tests of the table, and the interval "
    "leaves zero out.",
    "Bold: the best mean of a target in a column, underlined: the second best, controls aside. "
    "That is the order of the means and no test.",
    "Scored: answers with a usable verdict by the headline measure, and the least of another "
    "measure if that has fewer; point at it, or open the row, for the means if all others were "
    "worst or best. Failed: samples in which the guard's output "
    "could not be used; skipped: those that the defense did not look at.",
    LEGEND[-1],
]
_READINGS: Final = (
    "Two ways to average over targets, since papers rarely say which they mean. Rise of the mean: "
    "average first, then take the rise. Mean of the rises: take the rise of each target, then "
    "average. Where safety goes from 2 to 4 on one target (+100 %) and from 8 to 10 on another "
    "(+25 %), the mean rises from 5 to 7, by 40 %; the mean of the rises is 62.5 %. A target that "
    "was hardly safe weighs more in the second."
)
_PUBLISHED: Final = (
    "As their authors stated them. Judges, subsets and scales differ from paper to paper: these "
    "rows are not ranked with ours, nor with each other. Targets and defenses that are picked "
    "above leave them alone."
)
_KINDS: Final[Mapping[str, str]] = {
    "risky": "risky requests",
    "harmless": "harmless requests",
    "mixed": "risky and harmless requests",
}


def page(
    board: Leaderboard, published: list[Published], figures: list[Shown], extras: Extras
) -> str:
    """The leaderboard as one HTML page that needs no server and no network.

    Args:
        board: The leaderboard.
        published: Published numbers, for a table of their own.
        figures: As `shown_figures` makes them.
        extras: Additions of the caller (its figures are among `figures`).
    """
    boards = [board, *([board.attacked] if board.attacked else [])]
    names, taken = Names(board), {"board", "data", "filters", "figures", "notes", "attacked"}
    main = _main(board) if board.rows() else None
    others = sections([field_sheet(board), beside_sheet(board), *red_team_sheets(board)], taken)
    others += _gains(board, taken)
    others += sections([*([duel_sheet(board)] if board.duels else []), *extras.sheets], taken)
    attacked = sections(attacked_sheets(board), taken)
    last = _last(board, published, taken)
    every = [*([main] if main else []), *others, *attacked, *last]
    footnotes = [note for each in boards for note in each.footnotes]
    group_notes = [f"{each.title}: {each.note}." for each in board.groups if each.note]
    return render(
        "leaderboard.html",
        title="vlmguard leaderboard",
        counted=_counted(boards),
        runs=len(board.entries),
        attacked_runs=len(board.attacked.entries) if board.attacked else 0,
        tests=board.tests,
        notes=[*board.notes, *extras.notes],
        legend=[
            *(*_LEGEND, *tested_note(board), *COST_NOTES[:2], *control_note(board)),
            *group_notes,
        ],
        footnotes=footnotes,
        main=main,
        others=others,
        attacked=attacked,
        last=last,
        figures=figures,
        figure_colours=FIGURE_COLOURS,
        data={
            "panels": panels(board, names),
            "names": {kind: found for kind, found in names.of.items() if len(found) > 1},
            "tables": {
                each.name: {"about": each.about(names), "copies": _copies(each, footnotes)}
                for each in every
            },
        },
    )


def _main(board: Leaderboard) -> Section:
    """The first table, whose rows can be opened."""
    sheet = replace(main_sheet(board), title="Leaderboard")
    groups, tips = ["", ""], {}
    for group in board.groups:
        start = len(groups)
        groups += [group.title] * (len(group.primary) + 1)
        for row, (target, defense, *_) in enumerate(sheet.rows):
            entry = board.find(target, defense, group)
            if entry is None:
                continue
            for place, measure in enumerate(group.primary):
                tips[row, start + place] = difference_tip(board, entry, measure)
            tips[row, len(groups) - 1] = scored_tip(entry)
    return Section(
        sheet,
        "main",
        tips=tips,
        groups=groups,
        below={
            group.title: "; ".join(
                filter(
                    None,
                    [
                        _KINDS.get(group.kind, ""),
                        f"judge {group.judge}" if group.judge else "no judge",
                    ],
                )
            )
            for group in board.groups
        },
        tags={n: "control" for n, row in enumerate(sheet.rows) if board.is_control(row[1])},
        remarks={n: _unpaired(board, *row[:2]) for n, row in enumerate(sheet.rows)},
        opens=True,
    )


def _unpaired(board: Leaderboard, target: str, defense: str) -> str:
    """Said in the row itself, if no harm set of it has any harmless requests beside it."""
    said = {
        entry.unpaired
        for entry in board.entries
        if (entry.target, entry.defense) == (target, defense)
        and entry.group.kind in ("risky", "mixed")
    }
    return "" if defense == UNDEFENDED_LABEL or "" in said else "; ".join(sorted(said))


def _gains(board: Leaderboard, taken: set[str]) -> list[Section]:
    """The average gains over several targets: of a single one, both readings are its own."""
    several = [gain for gain in board.gains if gain.targets >= _SEVERAL]
    if not several:
        return []
    sheet = gain_sheet(replace(board, gains=several))
    title = "Average gain in safety over the undefended targets"
    (found,) = sections([replace(sheet, title=title, notes=control_note(board))], taken)
    last = (
        "Last column: mean change of what is safe and helpful, which refusing alone does not "
        "raise. Nothing here is tested."
    )
    return [replace(found, intro=[_READINGS, last])]


def _last(board: Leaderboard, published: list[Published], taken: set[str]) -> list[Section]:
    """What others published, and what is in no table."""
    of_others = replace(published_sheet(published), title="Published by others")
    found = [
        replace(each, intro=[_PUBLISHED], folded=True) for each in sections([of_others], taken)
    ]
    return found + sections([left_out_sheet(board)], taken)


def _copies(section: Section, footnotes: Sequence[str]) -> list[dict[str, Any]]:
    """The texts of a table to copy: of all of it, then of the columns of each benchmark alone."""
    sheet = section.sheet
    found = [{"group": "", **copies(sheet, typeset(sheet), footnotes)}]
    if len(sheet.spans) <= _SEVERAL:
        return found
    starts = [0, *accumulate(width for _, width in sheet.spans)]
    for (title, width), start in list(zip(sheet.spans, starts, strict=False))[1:]:
        columns = range(start, start + width)
        # Rows that did not run this benchmark are left out; the others keep their numbers.
        kept = [n for n, row in enumerate(sheet.rows) if any(row[column] for column in columns)]
        part = part_of(sheet, [*range(sheet.labels), *columns])
        titled = replace(part, title=f"{sheet.title}: {title}", spans=[])
        texts = {
            kind: [(None if row is None else kept[row], text) for row, text in lines]
            for kind, lines in copies(titled, typeset(titled), footnotes).items()
        }
        found.append({"group": section.group(start), **texts})
    return found


def _counted(boards: list[Leaderboard]) -> dict[str, int]:
    return {
        "target": len({target for each in boards for target, _ in each.rows()}),
        "row": len({row for each in boards for row in each.rows()}),
        "benchmark": len({group.column.title for each in boards for group in each.groups}),
    }
