"""The leaderboard as one HTML page that needs nothing else: no server, no network."""

import base64
from typing import Any, Final

from vlmguard.results.formats.csv_json import board_data, null
from vlmguard.results.formats.sheets import (
    COST_NOTES,
    LEGEND,
    control_note,
    duel_sheet,
    gain_sheet,
    left_out_sheet,
    published_sheet,
    tested_note,
)
from vlmguard.results.formats.templating import render
from vlmguard.results.leaderboard.extras import Extras
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.published_numbers import Published

_CAPTIONS: Final = {
    "frontier": "Safety against helpfulness; upper right is best. Grey: not beaten in both.",
    "gains": "Change to the undefended target, with 95 % intervals",
    "categories": "Safe and helpful by category",
    "cost": "Safety against what a sample costs",
}
_LEGEND: Final = [
    "Below a mean: paired difference to the undefended target; point at it, or open the row, for "
    "its 95 % interval (clustered by image; none below ten images). ▲ better, ▼ worse: the test "
    "decides, corrected for all tests of the table, and the interval leaves zero out.",
    "Scored: answers with a usable verdict by the headline measure, * where others lack some; "
    "point at it, or open the row, for the means if all others were worst or best. Failed: samples "
    "in which the guard's output could not be used.",
    LEGEND[-1],
]


def page(
    board: Leaderboard, published: list[Published], figures: dict[str, bytes], extras: Extras
) -> str:
    """Write the page.

    Args:
        board: What it shows.
        published: Numbers of others, for a block of their own.
        figures: SVG images by title.
        extras: What the caller adds (its figures are among `figures`).

    Returns:
        The HTML text.
    """
    group_notes = [f"{each.title}: {each.note}." for each in board.groups if each.note]
    return render(
        "leaderboard.html",
        title="vlmguard leaderboard",
        data=_data(board),
        targets=len({target for target, _ in board.rows()}),
        benchmarks=len({group.column.title for group in board.groups}),
        notes=[*board.notes, *extras.notes],
        legend=[
            *(*_LEGEND, tested_note(board), *COST_NOTES[:2], *control_note(board)),
            *group_notes,
        ],
        gains=gain_sheet(board),
        extra=[*([duel_sheet(board)] if board.duels else []), *extras.sheets],
        figures=[
            {
                "caption": _CAPTIONS.get(title, title.replace("-", " ").capitalize()),
                "source": f"data:image/svg+xml;base64,{base64.b64encode(image).decode()}",
            }
            for title, image in figures.items()
        ],
        published=published_sheet(published),
        left_out=left_out_sheet(board),
    )


def _data(board: Leaderboard) -> dict[str, Any]:
    """What the page's script reads: it makes the first table, which can be sorted and filtered."""
    content = board_data(board)
    for group, shown in zip(board.groups, content["groups"], strict=True):
        shown["title"] = group.title
        for measure, fields in zip(group.measures, shown["measures"], strict=True):
            fields |= {"share": measure.is_share, "heading": measure.heading}
    data: dict[str, Any] = null(content | {"rows": board.rows()})
    return data
