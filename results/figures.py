"""Figures of the leaderboard: colour-blind safe, told apart by shape too, readable in print."""

import io
import math
from collections.abc import Callable
from typing import Any, Final

# The object interface alone: pyplot would keep figures and a display in the process.
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vlmguard.results.leaderboard import UNDEFENDED, Entry, Leaderboard
from vlmguard.results.sheets import group_title

# Okabe and Ito's palette, with black for what is undefended.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A6D3B")
SHAPES: Final = ("o", "s", "^", "D", "v", "P", "X")
STYLE: Final[dict[Any, Any]] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e6ea",
    "axes.axisbelow": True,
    "svg.hashsalt": "vlmguard",
    "text.parse_math": False,
}
_LONGEST: Final = 28


def figures(board: Leaderboard) -> dict[str, Figure]:
    """Draw all figures that the leaderboard has data for.

    Args:
        board: What to draw.

    Returns:
        Figures by title.
    """
    drawn: dict[str, Figure] = {}
    with rc_context(STYLE):
        for name, draw in _FIGURES.items():
            figure = draw(board)
            if figure is not None:
                drawn[name] = figure
    return drawn


def as_bytes(figure: Figure, form: str) -> bytes:
    """A figure as a file: `svg`, `png` or `pdf`, the same bytes for the same data."""
    content = io.BytesIO()
    FigureCanvasAgg(figure)
    undated: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(form, {})
    with rc_context(STYLE):
        figure.savefig(content, format=form, dpi=200, bbox_inches="tight", metadata=undated)
    return content.getvalue()


def frontier(board: Leaderboard) -> Figure | None:
    """Safety against helpfulness: a panel for each target and benchmark."""
    panels = _panels(board, lambda entry: "safety" in entry.cells and "helpful" in entry.cells)
    if not panels:
        return None
    looks = _looks(board)
    figure, axes = _grid(len(panels), 3.3, 3.0)
    for axis, (title, entries) in zip(axes, panels, strict=False):
        origin = next((each for each in entries if each.defense == UNDEFENDED), None)
        for entry in entries:
            helpful, safety = entry.cells["helpful"], entry.cells["safety"]
            colour, shape = looks[entry.defense]
            point = (helpful.mean * 100, safety.mean)
            if origin is not None and entry is not origin:
                start = (origin.cells["helpful"].mean * 100, origin.cells["safety"].mean)
                axis.plot(*zip(start, point, strict=True), color=colour, lw=0.8, alpha=0.5)
            axis.errorbar(
                *point,
                xerr=_bars(helpful.mean, helpful.low, helpful.high, 100),
                yerr=_bars(safety.mean, safety.low, safety.high, 1),
                fmt=shape,
                color=colour,
                ms=7,
                elinewidth=0.9,
                label=entry.defense,
            )
        axis.set(xlim=(-3, 103), ylim=(-0.3, 10.3), xlabel="helpful %", ylabel="safety 0-10")
        axis.set_title(title, fontsize=9, loc="left")
    _legend(figure, looks)
    return figure


def gains(board: Leaderboard) -> Figure | None:
    """Differences to the undefended target with their intervals."""
    names = [
        ("safety", "safety, points", 1.0),
        ("safe_and_helpful", "safe & helpful, %", 100),
    ]
    panels = _panels(board, lambda each: any(c.difference for c in each.cells.values()))
    panels = [(t, [e for e in es if e.defense != UNDEFENDED]) for t, es in panels]
    if not panels:
        return None
    looks = _looks(board)
    lines = [(title, entry) for title, entries in panels for entry in entries]
    height = 0.9 + 0.24 * len(lines) + 0.2 * len(panels)
    figure = Figure(figsize=(8.5, height), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, (name, label, scale) in zip(axes, names, strict=True):
        height, ticks, texts = 0.0, [], []
        for number, (title, entry) in enumerate(lines):
            if number and title != lines[number - 1][0]:
                height += 0.6
                axis.axhline(height - 0.3, color="#c5cbd2", lw=0.8)
            cell = entry.cells.get(name)
            colour, shape = looks[entry.defense]
            if cell is not None and cell.difference is not None:
                found = cell.difference
                axis.errorbar(
                    found.mean * scale,
                    height + 0.5,
                    xerr=_bars(found.mean, found.low, found.high, scale),
                    fmt=shape,
                    color=colour,
                    mfc=colour if cell.verdict else "white",
                    ms=5.5,
                )
            ticks.append(height + 0.5)
            texts.append(f"{title.replace(chr(10), ', ')}: {entry.defense}")
            height += 1
        axis.axvline(0, color="black", lw=0.8)
        axis.set_yticks(ticks, texts, fontsize=7)
        axis.grid(visible=False, axis="y")
        axis.set(xlabel=f"change in {label}", ylim=(height + 0.2, -0.2))
    axes[0].set_title("filled: better or worse after correction", fontsize=8, loc="left")
    return figure


def categories(board: Leaderboard) -> Figure | None:
    """Heat map of safety (or else the first measure) per category."""
    panels = [
        (group_title(group), group.measures[0], place)
        for place, group in enumerate(board.groups)
        if group.measures
    ]
    sizes = []
    for _, _, place in panels:
        entries = [entry for entry in board.entries if entry.group == place]
        names = sorted({name for entry in entries for name in entry.categories if name})
        sizes.append((entries, names))
    drawn = [(panel, *size) for panel, size in zip(panels, sizes, strict=True) if size[1]]
    if not drawn:
        return None
    heights = [len(entries) for _, entries, _ in drawn]
    width = 3.4 + 0.62 * max(len(names) for _, _, names in drawn)
    figure = Figure(figsize=(min(width, 14), 0.8 + sum(0.27 * h + 0.9 for h in heights)))
    axes = figure.subplots(len(drawn), 1, gridspec_kw={"height_ratios": heights}, squeeze=False)
    order, targets = board.rows(), _targets(board)
    for axis, ((title, measure, _), found, names) in zip(axes[:, 0], drawn, strict=True):
        entries = sorted(found, key=lambda each: order.index((each.target, each.defense)))
        values = [
            [entry.categories.get(name, {}).get(measure.name, (math.nan, 0))[0] for name in names]
            for entry in entries
        ]
        axis.imshow(values, cmap="cividis", vmin=0, vmax=measure.highest, aspect="auto")
        for row, line in enumerate(values):
            for column, value in enumerate(line):
                dark = value < 0.55 * measure.highest
                axis.text(
                    column,
                    row,
                    measure.show(value),
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="white" if dark else "black",
                )
        axis.grid(visible=False)
        axis.set_xticks(
            range(len(names)), [_short(name, 18) for name in names], rotation=25, ha="right"
        )
        axis.set_yticks(
            range(len(entries)), [f"{targets[e.target]}, {e.defense}" for e in entries], fontsize=7
        )
        axis.set_title(f"{title}: {measure.label}", fontsize=9, loc="left")
    figure.tight_layout()
    return figure


def cost(board: Leaderboard) -> Figure | None:
    """Safety against what the guard costs, in seconds where they are known, else in calls."""
    timed = all(e.overhead.seconds is not None for e in board.entries if e.overhead.calls)
    name = "seconds" if timed else "calls"
    panels = _panels(
        board, lambda each: "safety" in each.cells and getattr(each.overhead, name) is not None
    )
    if not panels:
        return None
    looks = _looks(board)
    figure, axes = _grid(len(panels), 3.3, 2.8)
    for axis, (title, entries) in zip(axes, panels, strict=False):
        for entry in entries:
            safety = entry.cells["safety"]
            spent = entry.overhead.seconds if timed else entry.overhead.calls
            colour, shape = looks[entry.defense]
            axis.errorbar(
                spent,
                safety.mean,
                yerr=_bars(safety.mean, safety.low, safety.high, 1),
                fmt=shape,
                color=colour,
                ms=7,
                elinewidth=0.9,
            )
        axis.set(ylim=(-0.3, 10.3), xlabel=f"{name} a sample", ylabel="safety 0-10")
        axis.set_xlim(left=0)
        axis.margins(x=0.1)
        axis.set_title(title, fontsize=9, loc="left")
    _legend(figure, looks)
    return figure


_FIGURES: Final[dict[str, Callable[[Leaderboard], Figure | None]]] = {
    "frontier": frontier,
    "gains": gains,
    "categories": categories,
    "cost": cost,
}


def _panels(board: Leaderboard, usable: Callable[[Entry], bool]) -> list[tuple[str, list[Entry]]]:
    panels = []
    names = _targets(board)
    for target in dict.fromkeys(target for target, _ in board.rows()):
        for place, group in enumerate(board.groups):
            entries = [
                entry
                for each_target, defense in board.rows()
                if each_target == target
                and (entry := board.find(target, defense, place)) is not None
                and usable(entry)
            ]
            if entries:
                panels.append((f"{names[target]}\n{_short(group_title(group), 40)}", entries))
    return panels


def _targets(board: Leaderboard) -> dict[str, str]:
    """Short names of targets: without provider where that leaves them apart."""
    full = list(dict.fromkeys(target for target, _ in board.rows()))
    last = [name.rsplit("/", 1)[-1] for name in full]
    chosen = last if len(set(last)) == len(full) else full
    return {name: _short(each) for name, each in zip(full, chosen, strict=True)}


def _looks(board: Leaderboard) -> dict[str, tuple[str, str]]:
    """Colour and shape of each defense, the same in all figures."""
    looks = {UNDEFENDED: ("black", "o")}
    others = sorted({entry.defense for entry in board.entries} - {UNDEFENDED})
    for number, defense in enumerate(others):
        # Where colours run out, a shifted shape still tells two defenses apart.
        shape = SHAPES[(number + 1 + number // len(COLOURS)) % len(SHAPES)]
        looks[defense] = (COLOURS[number % len(COLOURS)], shape)
    return {name: look for name, look in looks.items() if _occurs(board, name)}


def _occurs(board: Leaderboard, defense: str) -> bool:
    return any(entry.defense == defense for entry in board.entries)


def _grid(count: int, width: float, height: float) -> tuple[Figure, list[Any]]:
    columns = min(3, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(width * columns, height * rows + 0.5), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes


def _legend(figure: Figure, looks: dict[str, tuple[str, str]]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker=shape, ls="", label=name)
        for name, (colour, shape) in looks.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False)


def _bars(mean: float, low: float, high: float, scale: float) -> list[list[float]] | None:
    if math.isnan(low) or math.isnan(high):
        return None
    # A percentile interval need not hold the mean; a bar cannot be negative.
    return [[max(0.0, mean - low) * scale], [max(0.0, high - mean) * scale]]


def _short(name: str, longest: int = _LONGEST) -> str:
    """The telling end of a long name."""
    return name if len(name) <= longest else "…" + name[-longest + 1 :]
