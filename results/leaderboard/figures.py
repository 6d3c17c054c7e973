"""Figures of the leaderboard: colour-blind safe, with distinct shapes too, readable in print."""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, Final

# Without pyplot, which keeps figures and a display in the process.
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vlmguard.guard.cards import cards
from vlmguard.guard.package import PACKAGE
from vlmguard.results.leaderboard.model import UNDEFENDED_LABEL, Cell, Entry, Group, Leaderboard
from vlmguard.results.logs.measures import ENDPOINT, Measure
from vlmguard.results.sanitize import clean

# Okabe and Ito's palette; black is for undefended runs, grey for controls.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A6D3B")
CONTROL_COLOUR: Final = "#8c939b"
SHAPES: Final = ("o", "s", "^", "D", "v", "P", "X")
STYLE: Final[dict[Any, Any]] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e6ea",
    "axes.axisbelow": True,
    "svg.hashsalt": PACKAGE,
    "text.parse_math": False,
}
_OF_THE_HUB: Final = ("hf", "hf-vlm", "sglang", "vllm")
"""Providers whose models are `OWNER/CHECKPOINT`, or a folder."""
_LONGEST: Final = 28
_LONGEST_ROW: Final = 48
_ACROSS: Final = 4


def figures(board: Leaderboard) -> dict[str, Figure]:
    """Draw all figures that the leaderboard has data for, by title."""
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
    panels = _panels(board, lambda entry: _known(entry, "safety") and _known(entry, "helpful"))
    if not panels:
        return None
    looks = _looks(board)
    figure, axes = _grid(panels, 3.3, 3.0)
    # All panels have the same limits, and narrow ones, because points lie close together.
    left = _floor([e.cells["helpful"] for panel in panels for e in panel.entries], 0.2) * 100
    bottom = _floor([e.cells["safety"] for panel in panels for e in panel.entries], 1.0)
    for axis, panel in zip(axes, panels, strict=True):
        points = [(e.cells["helpful"].mean * 100, e.cells["safety"].mean) for e in panel.entries]
        axis.plot(*_staircase(points, left, bottom), color="#b9c0c8", lw=1.2, zorder=1)
        for entry, point in zip(panel.entries, points, strict=True):
            x, y = entry.cells["helpful"], entry.cells["safety"]
            colour, shape = looks[entry.defense]
            axis.errorbar(
                *point,
                xerr=_bars(x.mean, x.low, x.high, 100),
                yerr=_bars(y.mean, y.low, y.high, 1),
                fmt=shape,
                color=colour,
                ms=7,
                elinewidth=0.9,
                clip_on=False,
            )
        axis.set(xlim=(left - 1, 101), ylim=(bottom - 0.1, 10.1))
        axis.set(xlabel="helpful % ↑", ylabel="safety 0-10 ↑")
        axis.set_title(panel.title, fontsize=9, loc="left")
    _legend(figure, looks)
    return figure


def gains(board: Leaderboard) -> Figure | None:
    """Differences to the undefended target with their intervals."""
    known = [
        ("safety", "safety, points ↑", 1.0),
        ("safe_and_helpful", "safe & helpful, % ↑", 100),
    ]
    names = [each for each in known if any(_compared(entry, each[0]) for entry in board.entries)]
    panels = _panels(board, lambda entry: any(_compared(entry, name) for name, _, _ in names))
    if not panels:
        return None
    looks = _looks(board)
    rows = sum(len(panel.entries) + 1.4 for panel in panels)
    width = 1.5 + 3.5 * len(names)
    figure = Figure(figsize=(width, 0.9 + 0.2 * rows), layout="constrained")
    axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axis, (name, label, scale) in zip(axes, names, strict=True):
        _draw_gains(axis, panels, name, scale, looks)
        axis.set(xlabel=f"change in {label}")
    headings = {panel.line for panel in panels}
    for tick in axes[0].get_yticklabels():
        if tick.get_text() in headings:
            tick.set_fontweight("bold")
    axes[0].set_title("filled: better or worse after correction", fontsize=8, loc="left")
    return figure


def _draw_gains(
    axis: Any, panels: list["Panel"], name: str, scale: float, looks: dict[str, tuple[str, str]]
) -> None:
    """Draw the panels one below the other, with a line for each row."""
    height, ticks, texts = 0.0, [], []
    for panel in panels:
        ticks.append(height + 0.6)
        texts.append(panel.line)
        axis.axhline(height, color="#c5cbd2", lw=0.8)
        height += 1.2
        for entry in panel.entries:
            cell = entry.cells.get(name)
            colour, shape = looks[entry.defense]
            if cell is not None and cell.difference is not None:
                found = cell.difference
                axis.errorbar(
                    found.mean * scale,
                    height + 0.4,
                    xerr=_bars(found.mean, found.low, found.high, scale),
                    fmt=shape,
                    color=colour,
                    mfc=colour if cell.verdict else "white",
                    ms=5.5,
                )
            ticks.append(height + 0.4)
            texts.append(_head(entry.defense, _LONGEST_ROW))
            height += 1
        height += 0.2
    axis.axvline(0, color="black", lw=0.8)
    axis.set_yticks(ticks, texts, fontsize=8)
    axis.tick_params(axis="y", length=0)
    axis.grid(visible=False, axis="y")
    axis.set(ylim=(height + 0.1, 0))


@dataclass(frozen=True)
class _Map:
    """The heat map of a group: rows of the leaderboard by category."""

    group: Group
    entries: list[Entry]
    names: list[str]

    @property
    def measure(self) -> Measure:
        """Safe and helpful, which refusing everything does not raise; else the first measure."""
        measures = self.group.measures
        return next((each for each in measures if each.name == ENDPOINT), measures[0])


def categories(board: Leaderboard) -> Figure | None:
    """Heat map of what is safe and helpful (or else the first measure) per category."""
    order = board.rows()
    drawn = []
    for group in board.groups:
        entries = sorted(board.of(group), key=lambda e: order.index((e.target, e.defense)))
        names = sorted({name for entry in entries for name in entry.categories if name})
        if group.measures and names:
            drawn.append(_Map(group, entries, names))
    if not drawn:
        return None
    heights = [len(each.entries) for each in drawn]
    width = 3.4 + 0.62 * max(len(each.names) for each in drawn)
    figure = Figure(figsize=(min(width, 14), 0.8 + sum(0.27 * h + 0.9 for h in heights)))
    axes = figure.subplots(len(drawn), 1, gridspec_kw={"height_ratios": heights}, squeeze=False)
    targets = _targets(board)
    for axis, each in zip(axes[:, 0], drawn, strict=True):
        _draw_map(axis, each, targets)
    figure.tight_layout()
    return figure


def _draw_map(axis: Any, drawn: _Map, targets: dict[str, str]) -> None:
    entries, names, measure = drawn.entries, drawn.names, drawn.measure
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
    for row, (above, below) in enumerate(pairwise(entries)):
        if above.target != below.target:
            axis.axhline(row + 0.5, color="white", lw=3)
    axis.set_xticks(range(len(names)), [_head(name) for name in names], rotation=25, ha="right")
    axis.set_yticks(
        range(len(entries)),
        [f"{targets[e.target]}, {_head(e.defense, _LONGEST_ROW)}" for e in entries],
        fontsize=7,
    )
    axis.set_title(f"{_head(drawn.group.title, 80)}: {measure.heading}", fontsize=9, loc="left")


def cost(board: Leaderboard) -> Figure | None:
    """Safety against the cost of the guard: latency if all runs have it, else calls."""
    timed = all(e.overhead.latency is not None for e in board.entries)
    name = "latency, s ↓" if timed else "calls a sample ↓"

    def spent(entry: Entry) -> float | None:
        return entry.overhead.latency if timed else entry.overhead.calls

    panels = _panels(board, lambda e: _known(e, "safety") and spent(e) is not None)
    if not panels:
        return None
    looks = _looks(board)
    figure, axes = _grid(panels, 3.3, 2.8)
    bottom = _floor([e.cells["safety"] for panel in panels for e in panel.entries], 1.0)
    for axis, panel in zip(axes, panels, strict=True):
        for entry in panel.entries:
            safety = entry.cells["safety"]
            colour, shape = looks[entry.defense]
            axis.errorbar(
                spent(entry),
                safety.mean,
                yerr=_bars(safety.mean, safety.low, safety.high, 1),
                fmt=shape,
                color=colour,
                ms=7,
                elinewidth=0.9,
                clip_on=False,
            )
        axis.set(ylim=(bottom - 0.1, 10.1), xlabel=name, ylabel="safety 0-10 ↑")
        axis.set_xlim(left=0)
        axis.margins(x=0.1)
        axis.set_title(panel.title, fontsize=9, loc="left")
    _legend(figure, looks)
    return figure


_FIGURES: Final[dict[str, Callable[[Leaderboard], Figure | None]]] = {
    "frontier": frontier,
    "gains": gains,
    "categories": categories,
    "cost": cost,
}


@dataclass(frozen=True)
class Panel:
    """What one axis shows.

    Attributes:
        target: The target.
        title: Heading.
        entries: Rows of the leaderboard.
    """

    target: str
    title: str
    entries: list[Entry]

    @property
    def line(self) -> str:
        """The heading on one line."""
        return self.title.replace("\n", ", ")


def _panels(board: Leaderboard, usable: Callable[[Entry], bool]) -> list[Panel]:
    panels = []
    names = _targets(board)
    for target in names:
        for group in board.groups:
            entries = [
                entry
                for each_target, defense in board.rows()
                if each_target == target
                and (entry := board.find(target, defense, group)) is not None
                and usable(entry)
            ]
            if entries:
                title = f"{names[target]}\n{_tail(group.title, 40)}"
                panels.append(Panel(target, title, entries))
    return panels


def _known(entry: Entry, name: str) -> bool:
    """Whether any answer has a value in a measure."""
    cell = entry.cells.get(name)
    return cell is not None and not math.isnan(cell.mean)


def _compared(entry: Entry, name: str) -> bool:
    """Whether there is a difference to the undefended target in a measure."""
    cell = entry.cells.get(name)
    return cell is not None and cell.difference is not None


def _targets(board: Leaderboard) -> dict[str, str]:
    """Short names of targets: without the provider if they stay distinct."""
    full = list(dict.fromkeys(target for target, _ in board.rows()))
    short = [_without_provider(name) for name in full]
    chosen = short if len(set(short)) == len(full) else full
    return {name: _tail(each) for name, each in zip(full, chosen, strict=True)}


def _without_provider(target: str) -> str:
    """A model's name; of a checkpoint on the hub, also without its owner."""
    provider, _, name = target.partition("/")
    return name.rsplit("/", 1)[-1] if provider in _OF_THE_HUB else name or target


def _looks(board: Leaderboard) -> dict[str, tuple[str, str]]:
    """Colour and shape of each defense, the same in all figures; our own defense comes first."""
    looks = {UNDEFENDED_LABEL: ("black", "o")}
    defenses = sorted({entry.defense for entry in board.entries} - {UNDEFENDED_LABEL})
    controls = [name for name in defenses if board.is_control(name)]
    ours = [name for name, card in cards().defenses.items() if card.ours]
    others = sorted(set(defenses) - set(controls), key=lambda n: (n.split()[0] not in ours, n))
    for number, defense in enumerate(others):
        # When colours repeat, the shapes of two defenses still differ.
        shape = SHAPES[(number + 1 + number // len(COLOURS)) % len(SHAPES)]
        looks[defense] = (COLOURS[number % len(COLOURS)], shape)
    for number, defense in enumerate(controls):
        looks[defense] = (CONTROL_COLOUR, ("<", ">", "p", "h")[number % 4])
    return {name: look for name, look in looks.items() if _occurs(board, name)}


def _occurs(board: Leaderboard, defense: str) -> bool:
    return any(entry.defense == defense for entry in board.entries)


def _grid(panels: list[Panel], width: float, height: float) -> tuple[Figure, list[Any]]:
    """An axis for each panel; each target begins a new line if one has several panels."""
    by_target = [len(list(line)) for _, line in groupby(panels, key=lambda panel: panel.target)]
    whole = max(by_target) == 1
    lines = [len(panels)] if whole else by_target
    columns = min(_ACROSS, max(lines))
    deep = [math.ceil(count / columns) for count in lines]
    figure = Figure(figsize=(width * columns, height * sum(deep) + 0.5), layout="constrained")
    grid = figure.subplots(sum(deep), columns, squeeze=False)
    axes: list[Any] = []
    for line, (count, rows) in enumerate(zip(lines, deep, strict=True)):
        start = sum(deep[:line])
        here = list(grid[start : start + rows].flat)
        axes += here[:count]
        for axis in here[count:]:
            axis.set_visible(False)
    return figure, axes


def _floor(cells: list[Cell], step: float) -> float:
    """The largest multiple of `step` below all intervals."""
    lowest = min(cell.mean if math.isnan(cell.low) else cell.low for cell in cells)
    return 0.0 if math.isnan(lowest) else math.floor(lowest / step + 1e-9) * step


def _staircase(
    points: list[tuple[float, float]], left: float, bottom: float
) -> tuple[list[float], list[float]]:
    """Outline of the points that no other point beats in both directions, from axis to axis."""
    known = {point for point in points if not any(map(math.isnan, point))}
    best = sorted(point for point in known if not any(_beats(each, point) for each in known))
    xs, ys = [left], [best[0][1] if best else bottom]
    for number, (x, y) in enumerate(best):
        xs += [x, x]
        ys += [y, best[number + 1][1] if number + 1 < len(best) else bottom]
    return xs, ys


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one != other and one[0] >= other[0] and one[1] >= other[1]


def _legend(figure: Figure, looks: dict[str, tuple[str, str]]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker=shape, ls="", label=_head(name, _LONGEST_ROW))
        for name, (colour, shape) in looks.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False)


def _bars(mean: float, low: float, high: float, scale: float) -> list[list[float]] | None:
    if math.isnan(low) or math.isnan(high):
        return None
    # By rounding, an end may lie past the mean; a bar must not be negative.
    return [[max(0.0, mean - low) * scale], [max(0.0, high - mean) * scale]]


def _tail(name: str, longest: int = _LONGEST) -> str:
    """The end of a long name."""
    name = clean(name)
    return name if len(name) <= longest else "…" + name[-longest + 1 :]


def _head(name: str, longest: int = 22) -> str:
    """The beginning of a long name."""
    name = clean(name)
    return name if len(name) <= longest else name[: longest - 1] + "…"
