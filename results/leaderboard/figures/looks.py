"""What all figures share: colours of both themes, shapes, letters, and a figure with its words."""

import io
from typing import Any, Final

# Without pyplot, which keeps figures and a display in the process.
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vlmguard.guard.cards import cards
from vlmguard.guard.package import PACKAGE
from vlmguard.results.leaderboard.model import UNDEFENDED_LABEL, Leaderboard

__all__ = [
    "COLUMN",
    "DARK",
    "FRAME",
    "INK",
    "PAGE",
    "PAPER",
    "SMALL",
    "SOFT",
    "STYLE",
    "WASH",
    "Drawn",
    "Look",
    "as_bytes",
    "looks_of",
]

COLUMN: Final = 3.3
"""Width of a column of a paper, in inches."""
PAGE: Final = 6.8
"""Width of its page."""
SMALL: Final = 7
"""The smallest letters, in points."""

INK: Final = "#1b1f24"
SOFT: Final = "#5c6670"
FRAME: Final = "#aab2bb"
GRID: Final = "#e3e6ea"
WASH: Final = "#f0f2f5"
PAPER: Final = "#ffffff"
CONTROL: Final = "#8c939b"
# Okabe and Ito's palette; ink is for undefended runs, grey for controls.
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d3b")
SHAPES: Final = ("o", "s", "^", "D", "v", "P", "X")
CONTROL_SHAPES: Final = ("p", "h", "*", "8")

DARK: Final = {
    INK: "#e6e9ed",
    SOFT: "#9aa5b1",
    FRAME: "#5f6a76",
    GRID: "#313841",
    WASH: "#262d35",
    PAPER: "#1c2026",
    CONTROL: "#8f98a3",
    "#0072b2": "#4c9fdc",
    "#d55e00": "#f08a4b",
    "#009e73": "#3cc79b",
    "#cc79a7": "#e39ac4",
    "#e69f00": "#f2b84b",
    "#56b4e9": "#a6daf7",
    "#8a6d3b": "#c4a46a",
}
"""What stands for each colour on a dark page; all others stay as they are."""

STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": SMALL,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": FRAME,
    "axes.labelcolor": INK,
    "axes.facecolor": PAPER,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelpad": 2.5,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "figure.facecolor": PAPER,
    "savefig.facecolor": "auto",
    "xtick.color": FRAME,
    "ytick.color": FRAME,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "hatch.color": FRAME,
    "hatch.linewidth": 0.6,
    "svg.hashsalt": PACKAGE,
}

Look = tuple[str, str]
"""Colour and shape of a defense."""


class Drawn(Figure):
    """A figure in these looks, which a dark page may draw in dark colours.

    Attributes:
        alt: What it shows, in words and numbers.
        caption: How it is read.
    """

    alt: str = ""
    caption: str = ""


def as_bytes(figure: Figure, form: str) -> bytes:
    """A figure as a file: `svg`, `png` or `pdf`, the same bytes for the same data."""
    content = io.BytesIO()
    FigureCanvasAgg(figure)
    undated: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(form, {})
    # Our own figures have their width on paper; others are cut to what they hold.
    cut = None if isinstance(figure, Drawn) else "tight"
    with rc_context(STYLE):
        figure.savefig(content, format=form, dpi=200, bbox_inches=cut, metadata=undated)
    return content.getvalue()


def looks_of(board: Leaderboard) -> dict[str, Look]:
    """Colour and shape of each defense, the same in all figures; our own defense comes first."""
    boards = [board, *([board.attacked] if board.attacked else [])]
    found = {entry.defense for each in boards for entry in each.entries}
    defenses = sorted(found - {UNDEFENDED_LABEL})
    controls = [name for name in defenses if board.is_control(name)]
    ours = [name for name, card in cards().defenses.items() if card.ours]
    others = sorted(set(defenses) - set(controls), key=lambda n: (n.split()[0] not in ours, n))
    looks = {UNDEFENDED_LABEL: (INK, "o")}
    for number, defense in enumerate(others):
        # When colours repeat, the shapes of two defenses still differ.
        shape = SHAPES[(number + 1 + number // len(COLOURS)) % len(SHAPES)]
        looks[defense] = (COLOURS[number % len(COLOURS)], shape)
    for number, defense in enumerate(controls):
        looks[defense] = (CONTROL, CONTROL_SHAPES[number % len(CONTROL_SHAPES)])
    return looks
