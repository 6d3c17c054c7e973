"""The leaderboard as one HTML page that needs nothing else: no server, no network."""

import base64
import json
from dataclasses import asdict
from importlib import resources
from typing import Any, Final

from vlmguard.results.leaderboard import Leaderboard
from vlmguard.results.published import Published
from vlmguard.results.render import null
from vlmguard.results.sheets import LEGEND, group_title

_PLACE: Final = "__DATA__"


def page(board: Leaderboard, published: list[Published], figures: dict[str, bytes]) -> str:
    """Write the page.

    Args:
        board: What it shows.
        published: Numbers of others, for a block of their own.
        figures: SVG images by title.

    Returns:
        The HTML text.
    """
    content: dict[str, Any] = asdict(board)
    for group, shown in zip(board.groups, content["groups"], strict=True):
        shown["title"] = group_title(group)
        for measure, fields in zip(group.measures, shown["measures"], strict=True):
            fields["share"] = measure.is_share
    content |= {
        "rows": board.rows(),
        "legend": LEGEND,
        "left_out": list(board.left_out.items()),
        "published": [asdict(row) for row in published],
        "figures": [
            {"title": title, "source": f"data:image/svg+xml;base64,{_base64(image)}"}
            for title, image in figures.items()
        ],
    }
    text = json.dumps(null(content), allow_nan=False)
    # Inside a script element "</script" and "<!--" would end or bend it.
    text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    template = resources.files("vlmguard.results").joinpath("page.html")
    return template.read_text(encoding="utf-8").replace(_PLACE, text)


def _base64(image: bytes) -> str:
    return base64.b64encode(image).decode()
