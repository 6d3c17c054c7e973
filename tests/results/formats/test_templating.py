"""Templates of pages: foreign text in any place stays text."""

import re
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from types import SimpleNamespace

import pytest
from jinja2 import UndefinedError
from matplotlib.figure import Figure

from vlmguard.results.agreement.label_page import LabelSheet
from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.formats.templating import render
from vlmguard.results.leaderboard.extras import Extras
from vlmguard.results.leaderboard.figures import figures
from vlmguard.results.leaderboard.figures.page import shown_figures
from vlmguard.results.leaderboard.figures.pictures import picture_of
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.page import page
from vlmguard.results.leaderboard.published_numbers import Published
from vlmguard.results.logs.exchange import Exchange

EVIL = (
    "'\"></script></style></pre><script>alert(1)</script><img src=x onerror=y>{{ 7 * 7 }}\x1b\u202e"
)
IMAGE = "data:image/png;base64,AAAA"
SHEET = Sheet(EVIL, [EVIL, "n"], [[EVIL, EVIL]], notes=[EVIL], labels=1)
EXCHANGE = Exchange(request=EVIL, rewritten=EVIL, answer=EVIL, images=(IMAGE, EVIL))
SAID = dict.fromkeys(("safety", "helpful", "refused"), ("1",))
LABELS = LabelSheet([(EVIL, "1", {})], [EXCHANGE], EVIL, (EVIL,), [SAID])
FLIP = SimpleNamespace(
    sample=EVIL,
    category=EVIL,
    changes=(EVIL,),
    first=EXCHANGE,
    second=EXCHANGE,
    epoch=2,
    direction="worse",
)


class Tags(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def leaderboard(evil: Leaderboard) -> str:
    row = Published(
        **dict.fromkeys(("benchmark", "subset", "target", "method", "metric", "source"), EVIL),
        value=1.0,
        higher_is_better=True,
        certainty="abstract",
    )
    drawn = {"frontier": figures(evil)["frontier"], EVIL: Figure()}
    made = {name: picture_of(each, "f-") for name, each in drawn.items()}
    return page(evil, [row], shown_figures(made), Extras(notes=[EVIL], sheets=[SHEET]))


PAGES = {
    "labels.html": lambda _: LABELS.page(images=True),
    "flips.html": lambda _: render(
        "flips.html",
        title=EVIL,
        intro=EVIL,
        measures=SHEET,
        flips=[FLIP],
        directions={"worse": 1, "better": 0, "neither": 0},
        kinds=[(EVIL, 1)],
        images=True,
    ),
    "leaderboard.html": leaderboard,
    "explorer.html": lambda _: render(
        "explorer.html",
        title=EVIL,
        target=EVIL,
        images=True,
        data={"name": EVIL, "samples": [[EVIL]]},
        facts=[{"defense": EVIL, "attack": EVIL, "facts": {EVIL: EVIL}}],
        footnotes=[EVIL],
        notes=[EVIL],
    ),
    "explorer_index.html": lambda _: render(
        "explorer_index.html",
        title=EVIL,
        images=False,
        sets=[
            SimpleNamespace(
                name="a-b",
                title=EVIL,
                target=EVIL,
                entries=[SimpleNamespace(defense=EVIL)],
                attacks=["", EVIL],
                samples=[EVIL],
            )
        ],
        notes=[EVIL],
        footnotes=[EVIL],
    ),
}
SCRIPTS = {"leaderboard.html": 3, "labels.html": 4, "flips.html": 2, "explorer.html": 5}
"""Our own scripts in a page; others have that of the theme alone."""
PARTS = {"base.html", "figures.html", "grids.html", "samples.html", "exchange.html", "tables.html"}


def test_every_template_is_tried_below() -> None:
    folder = resources.files("vlmguard.results.formats") / "templates"
    names = {each.name for each in folder.iterdir() if each.name.endswith(".html")}
    assert names == PAGES.keys() | PARTS


@pytest.mark.parametrize("name", PAGES)
def test_foreign_text_stays_text(name: str, evil: Leaderboard) -> None:
    text = PAGES[name](evil)
    found = Tags(text)
    assert [tag for tag, _ in found.tags].count("script") == SCRIPTS.get(name, 1)
    assert not [tag for tag, attributes in found.tags if "onerror" in attributes]
    shown = " ".join(found.text)
    assert "<script>alert(1)</script>" in shown
    assert "{{ 7 * 7 }}" in shown
    # No character in the source controls a terminal or reverses a line.
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_no_code_makes_html(repo: Path) -> None:
    """Outside templates, nothing is escaped automatically."""
    tags = re.compile(r"</(?:td|tr|th|table|div|p|html|h[1-6]|body|span|pre|article|style)>")
    folders = ("guard", "tasks", "solvers", "scorers", "training", "results")
    files = [file for folder in folders for file in (repo / folder).rglob("*.py")]
    assert len(files) > 100
    assert [str(file) for file in files if tags.search(file.read_text(encoding="utf-8"))] == []


def test_a_value_that_is_not_given_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("labels.html", title="", exchanges=[], images=False)
