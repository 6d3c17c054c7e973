"""The leaderboard as one HTML page that needs nothing else: no server, no network."""

import base64
import json
from dataclasses import asdict
from importlib import resources
from typing import Any, Final

from vlmguard.results.formats.csv_json import null
from vlmguard.results.formats.sheets import (
    COST_NOTES,
    LEGEND,
    control_note,
    duel_sheet,
    group_title,
    tested_note,
)
from vlmguard.results.leaderboard.extras import Extras
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.published_numbers import Published

_PLACE: Final = "__DATA__"
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
    content: dict[str, Any] = asdict(board)
    for group, shown in zip(board.groups, content["groups"], strict=True):
        shown["title"] = group_title(group)
        for measure, fields in zip(group.measures, shown["measures"], strict=True):
            fields |= {"share": measure.is_share, "heading": measure.heading}
    content |= {
        "rows": board.rows(),
        "notes": [*board.notes, *extras.notes],
        "legend": [*_LEGEND, tested_note(board), *COST_NOTES[:2], *control_note(board)],
        "extra": [
            {"title": s.title, "header": s.header, "rows": s.rows, "labels": s.labels}
            | {"notes": s.notes}
            for s in [*([duel_sheet(board)] if board.duels else []), *extras.sheets]
        ],
        "left_out": list(board.left_out.items()),
        "published": [asdict(row) for row in published],
        "figures": [
            {
                "caption": _CAPTIONS.get(title, title.replace("-", " ").capitalize()),
                "source": f"data:image/svg+xml;base64,{_base64(image)}",
            }
            for title, image in figures.items()
        ],
    }
    text = json.dumps(null(content), allow_nan=False)
    # Inside a script element "</script" and "<!--" would end or bend it.
    text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    template = resources.files("vlmguard.results.formats").joinpath("templates/leaderboard.html")
    return template.read_text(encoding="utf-8").replace(_PLACE, text)


def _base64(image: bytes) -> str:
    return base64.b64encode(image).decode()
