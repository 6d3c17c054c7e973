"""Where the parts of a figure are, by the renderer: what meets what, and what leaves the paper."""

from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def texts_of(figure: Figure) -> list[tuple[str, Bbox]]:
    """All texts that are seen, with their boxes in dots."""
    renderer = _drawn(figure)
    return [
        (each.get_text(), each.get_window_extent(renderer))
        for each in figure.findobj(Text)
        if isinstance(each, Text) and each.get_visible() and each.get_text().strip()
    ]


def markers_of(figure: Figure) -> list[Bbox]:
    """The boxes of all markers."""
    _drawn(figure)
    found = []
    for axis in figure.axes:
        for line in axis.lines:
            if isinstance(line, Line2D) and line.get_marker() not in ("None", "", None):
                reach = line.get_markersize() / 2 * figure.dpi / 72
                for x, y in axis.transData.transform(line.get_xydata()):
                    found.append(Bbox.from_extents(x - reach, y - reach, x + reach, y + reach))
    return found


def faults_in(figure: Figure) -> list[str]:
    """Texts that overlap, texts on markers, and what leaves the paper or is too small."""
    texts, markers = texts_of(figure), markers_of(figure)
    paper = figure.bbox
    found = [f"{a} on {b}" for (a, one), (b, other) in combinations(texts, 2) if _meet(one, other)]
    # The number in the middle of a marker of several rows belongs there.
    found += [
        f"{a} on a marker"
        for a, one in texts
        for each in markers
        if _meet(one, each) and not (a.isdigit() and _middles(one, each) < 3)
    ]
    found += [f"{a} is cut" for a, one in texts if not _inside(one, paper)]
    found += ["a marker is cut" for each in markers if not _inside(each, paper)]
    sizes = [each.get_fontsize() for each in figure.findobj(Text) if isinstance(each, Text)]
    found += [f"letters of {size} points" for size in sizes if size < 7]
    return found


def _drawn(figure: Figure) -> object:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


def _meet(one: Bbox, other: Bbox) -> bool:
    slack = 0.5
    return (
        one.x0 + slack < other.x1
        and other.x0 + slack < one.x1
        and one.y0 + slack < other.y1
        and other.y0 + slack < one.y1
    )


def _middles(one: Bbox, other: Bbox) -> float:
    return abs(one.x0 + one.x1 - other.x0 - other.x1) + abs(one.y0 + one.y1 - other.y0 - other.y1)


def _inside(one: Bbox, paper: Bbox) -> bool:
    return one.x0 >= paper.x0 and one.y0 >= paper.y0 and one.x1 <= paper.x1 and one.y1 <= paper.y1
