"""Figures in the page: in the colours of its theme, at the width of its screen."""

import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.axe import faults_of
from support.browser import Opens, browser
from support.drawn_boards import Row, board_of

from vlmguard.results.leaderboard.extras import Extras
from vlmguard.results.leaderboard.figures.kept import pictures_of
from vlmguard.results.leaderboard.figures.looks import DARK, INK, PAPER
from vlmguard.results.leaderboard.figures.page import figure_files, shown_figures
from vlmguard.results.leaderboard.figures.sketches import sketches_of
from vlmguard.results.leaderboard.publish import page

ROWS: dict[str, Row] = {"undefended": (4.0, 0.9, 0.0), "vlmguard": (9.0, 0.9, 0.1)}
LETTERS = "figure#figure-frontier .wide svg g[transform]"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two targets, with the files of its figures."""
    folder = tmp_path_factory.mktemp("site")
    board = board_of(ROWS, ["alpha", "<i> & <b>beta"])
    made = pictures_of(sketches_of(board))
    for name, content in figure_files(made).items():
        (folder / name).write_bytes(content)
    text = page(board, [], shown_figures(made), Extras())
    (folder / "leaderboard.html").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def open_page() -> Iterator[Opens]:
    if shutil.which("chromium") is None:
        pytest.skip("no chromium on this machine")
    with browser() as opened:
        yield opened


def test_ids_are_unique_and_every_file_is_there(site: Path) -> None:
    text = (site / "leaderboard.html").read_text(encoding="utf-8")
    counts = Counter(re.findall(r'\bid="([^"]+)"', text))
    assert [name for name, count in counts.items() if count > 1] == []
    referred = set(re.findall(r'(?:url\(|href=")#([^")]+)', text))
    assert referred
    assert referred <= counts.keys()
    files = re.findall(r'<a href="([^"]+\.(?:svg|png|pdf))"', text)
    assert "frontier-column.pdf" in files
    assert all((site / each).is_file() for each in files)
    # Nothing of a figure reaches for what is outside, or sets a rule for the whole page.
    assert "<style" not in text.partition("</head>")[2]
    assert "<b>beta" not in text


def test_files_are_light_and_need_no_variables(site: Path) -> None:
    text = (site / "frontier.svg").read_text(encoding="utf-8")
    assert "var(" not in text
    assert INK in text


def test_a_figure_follows_the_theme(site: Path, open_page: Opens) -> None:
    opened = open_page((site / "leaderboard.html").as_uri(), dark=False)
    fills = f"getComputedStyle(document.querySelector('{LETTERS}')).fill"
    back = "getComputedStyle(document.querySelector('#figure-frontier .wide path')).fill"
    assert (opened.evaluate(fills), opened.evaluate(back)) == (rgb(INK), rgb(PAPER))
    opened.click("#theme")
    assert (opened.evaluate(fills), opened.evaluate(back)) == (rgb(DARK[INK]), rgb(DARK[PAPER]))
    assert opened.complaints == []
    assert [each for each in faults_of(opened) if "figure" in each or "svg" in each] == []


@pytest.mark.parametrize(("width", "shown"), [(1280, "wide"), (390, "narrow")])
def test_a_screen_shows_the_figure_that_fits(
    site: Path, open_page: Opens, width: int, shown: str
) -> None:
    opened = open_page((site / "leaderboard.html").as_uri(), width=width)
    seen = opened.evaluate(
        "[...document.querySelectorAll('#figure-frontier .drawing')]"
        ".filter(each => each.offsetParent).map(each => [each.className, each.scrollWidth <= "
        "each.clientWidth, each.querySelector('svg').getAttribute('aria-label')])"
    )
    ((name, fits, alt),) = seen
    assert shown in name
    assert fits
    assert alt.startswith("<i> & <b>beta, Toy all: undefended safety 4.0 at helpful 90 %; vlmguard")


def rgb(colour: str) -> str:
    return "rgb({}, {}, {})".format(*(int(colour[at : at + 2], 16) for at in (1, 3, 5)))
