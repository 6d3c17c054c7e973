"""Names in figures: short, and never two alike."""

import textwrap
from collections.abc import Collection
from functools import lru_cache
from typing import Final

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties

from vlmguard.results.leaderboard.figures.looks import SMALL
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.sanitize import one_line

__all__ = ["cut", "short_names", "size_of", "target_names", "wrapped"]

_DPI: Final = 288
_LINE: Final = 1.22
"""Height of a line, in sizes of its letters."""


def cut(name: str, longest: int, *, tail: bool = False) -> str:
    """The beginning of a long name, or its end."""
    name = one_line(name)
    if len(name) <= longest:
        return name
    return "…" + name[1 - longest :] if tail else name[: longest - 1].rstrip(" (,=") + "…"


def short_names(names: Collection[str], longest: int, *, tail: bool = False) -> dict[str, str]:
    """Each name, cut if it is long; names that would become alike keep both of their ends."""
    found = {name: cut(name, longest, tail=tail) for name in names}
    for name, short in list(found.items()):
        if list(found.values()).count(short) > 1:
            whole = one_line(name)
            half = (longest - 1) // 2
            found[name] = f"{whole[:half]}…{whole[-half:]}" if len(whole) > longest else whole
    for place, (name, short) in enumerate(list(found.items())):
        if list(found.values()).count(short) > 1:
            found[name] = f"{short[: longest - 4]} #{place + 1}"
    return found


def target_names(board: Leaderboard, longest: int = 40) -> dict[str, str]:
    """Names of targets, cut if they are long."""
    boards = [board, *([board.attacked] if board.attacked else [])]
    full = list(dict.fromkeys(target for each in boards for target, _ in each.rows()))
    return short_names(full, longest, tail=True)


def size_of(text: str, size: float = SMALL, weight: str = "normal") -> tuple[float, float]:
    """Width and height of a text in points, whatever it is drawn on."""
    lines = text.split("\n")
    return max(_width(line, size, weight) for line in lines), len(lines) * size * _LINE


def wrapped(text: str, width: float, size: float = SMALL) -> list[str]:
    """The lines of a text that is to be so many points wide at most."""
    text = one_line(text)
    # Letters differ in width, so the number of them is lowered until the widest line fits.
    for letters in range(max(8, int(width / size * 2.6)), 7, -2):
        lines = textwrap.wrap(text, letters, break_on_hyphens=False)
        if all(_width(line, size, "normal") <= width for line in lines):
            return lines
    return textwrap.wrap(text, 8)


@lru_cache(maxsize=4096)
def _width(line: str, size: float, weight: str) -> float:
    font = FontProperties(family="DejaVu Sans", size=size, weight=weight)
    width: float
    width, _, _ = _renderer().get_text_width_height_descent(line, font, False)  # type: ignore[no-untyped-call]
    # Hinting at another resolution makes letters wider by a little.
    return width * 72 / _DPI * 1.02 + 1


@lru_cache(maxsize=1)
def _renderer() -> RendererAgg:
    return RendererAgg(8, 8, _DPI)  # type: ignore[no-untyped-call]
