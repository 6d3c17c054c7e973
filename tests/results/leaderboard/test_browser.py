"""The page in a browser, by clicks and keys: tables, an opened row, copies, addresses, print."""

import base64
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.axe import faults_of
from support.browser import CHROMIUM, Opens, Page, browser

from vlmguard.results.formats.latex import latex_lines
from vlmguard.results.formats.markdown import markdown
from vlmguard.results.leaderboard.extras import Extras
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.page import page
from vlmguard.results.leaderboard.published_numbers import load_published
from vlmguard.results.leaderboard.tables import main_sheet
from vlmguard.results.leaderboard.typeset import typeset

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

NAMES = "[...document.querySelectorAll('#main tr[data-row]:not([hidden]) .opener')]"
SHOWN = f"{NAMES}.map((each) => each.textContent).join(' ')"
ROWS = (
    "[...document.querySelectorAll('#published-by-others tr[data-row]:not([hidden])')]"
    ".map((row) => `${row.cells[2].textContent}: ${row.cells[3].textContent}`)"
)
# What leaves its box without a scroll of its own, in an opened row and in the page.
CUT = """
[...document.querySelectorAll("tr.panel .own *")].filter((each) => {
  const [box, card] = [each, each.closest(".card")].map((one) => one.getBoundingClientRect());
  const scrolls = each.parentElement.closest(".own .wide");
  return !scrolls && box.width && (box.right > card.right + 1 || box.left < card.left - 1);
}).map((each) => each.outerHTML.slice(0, 80))
"""
STICKY = """
[...document.querySelectorAll("tr.panel th, tr.panel td")]
  .filter((each) => getComputedStyle(each).position === "sticky").length
"""


@pytest.fixture(scope="module")
def file(board: Leaderboard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a board with a command, a log, and a note for a name."""
    (entry, *_) = [each for each in board.entries if each.defense == "vlmguard"]
    facts = entry.facts
    entry.facts = {**facts, "Command": "inspect eval 'a b'", "Log": "logs/a b.eval"}
    board.footnotes = ["what vlmguard¹ stands for"]
    place = tmp_path_factory.mktemp("page") / "leaderboard.html"
    extras = Extras(notes=["One.", "Two.", "Three."])
    place.write_text(page(board, load_published({"SIUO"}), [], extras), encoding="utf-8")
    entry.facts, board.footnotes = facts, []
    return place


@pytest.fixture(scope="module")
def opens() -> Iterator[Opens]:
    if shutil.which("chromium") is None:
        pytest.skip("no chromium on this machine")
    with browser() as open_page:
        yield open_page


def copied(shown: Page, selector: str) -> str:
    """What a button copies; a browser without a window has no clipboard."""
    shown.evaluate("navigator.clipboard.writeText = async (text) => { window.kept = text; }")
    shown.click(selector)
    shown.wait("window.kept")
    return str(shown.evaluate("window.kept"))


def test_page_embeds_the_numbers_and_no_markup(evil: Leaderboard, name_with_markup: str) -> None:
    text = page(evil, [], [], Extras())
    assert text.count("</script>") == 3
    embedded = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
    assert embedded
    content = json.loads(embedded[1])
    # A target is called by the last part of its name.
    assert any(name_with_markup.endswith(each["target"]) for each in content["panels"])
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text
    # Without a script too, the numbers are there.
    for expected in ("7.67", "+3.67", "+6.00 ▲", "5 of 6", "failed 16.7 %"):
        assert expected in text.split('id="data"')[0], expected


def test_sorting_filtering_and_going_back(opens: Opens, file: Path) -> None:
    shown = opens(file.as_uri())
    u, v = "undefended", "vlmguard"
    assert shown.evaluate(SHOWN) == f"{u} {v} {u} {v}"
    # Blocks of targets stay. On Large, alpha went from 3 to 9 and beta has no run: it stays.
    for after in (f"{v} {u} {u} {v}", f"{u} {v} {u} {v}"):
        shown.click("#main tr.heads th:nth-child(2) button")
        assert shown.evaluate(SHOWN) == after
    assert "sort=main%3A1%3Aup" in shown.evaluate("location.hash")
    head = "document.querySelector('#main tr.heads th:nth-child(2)')"
    assert shown.evaluate(f"{head}.getAttribute('aria-sort')") == "ascending"
    shown.click('.chip[data-kind="defense"][data-name="vlmguard"]')
    assert shown.evaluate(SHOWN) == f"{v} {v}"
    other = "#what-each-defense-brings-and-what-it-costs, section.table:not(#main)"
    assert "undefended" not in shown.evaluate(
        f"[...document.querySelectorAll('{other}')].flatMap((each) => [...each.querySelectorAll("
        "'tr[data-row]:not([hidden]) > th')]).map((each) => each.textContent).join(' ')"
    )
    shown.click('.chip[data-kind="benchmark"]')
    spans = "document.querySelectorAll('#main th.span:not([hidden])').length"
    assert shown.evaluate(spans) == 1
    shown.evaluate("history.back()")
    shown.wait(f"{spans} === 2")
    shown.evaluate("history.back()")
    shown.wait(f"{SHOWN} === '{u} {v} {u} {v}'")
    assert shown.complaints == []


def test_an_address_shows_the_same_again_and_nonsense_is_passed_over(
    opens: Opens, file: Path
) -> None:
    shown = opens(file.as_uri())
    shown.click("#main tr.heads th:nth-child(2) button")
    shown.click("#main tr[data-row='1'] .opener")
    shown.click("#theme")
    shown.click("#search")
    shown.type("alpha")
    shown.wait("location.hash.includes('search=alpha')")
    again = opens(shown.evaluate("location.href"))
    for told in (
        SHOWN,
        "document.querySelector('tr.panel').innerText",
        "document.documentElement.dataset.theme",
        "document.getElementById('found').textContent",
    ):
        assert again.evaluate(told) == shown.evaluate(told), told
    assert again.evaluate("document.getElementById('search').value") == "alpha"
    broken = opens(
        f"{file.as_uri()}#sort=main:99:up&sort=x&open=no|one&target=%E0%A4%A&at=%3C&=&theme=red"
    )
    assert broken.evaluate(SHOWN) == "undefended vlmguard undefended vlmguard"
    assert broken.complaints == []


def test_search_holds_for_every_table(opens: Opens, file: Path) -> None:
    shown = opens(file.as_uri())
    shown.click("#search")
    shown.type("ETA gemma")
    published = load_published({"SIUO"})
    expected = [
        f"{each.target}: {each.method}"
        for each in published
        if all(word in " ".join(map(str, vars(each).values())).lower() for word in ("eta", "gemma"))
    ]
    assert 0 < len(expected) < len(published)
    assert shown.evaluate(ROWS) == expected
    assert shown.evaluate("document.getElementById('main').hidden") is True
    shown.click("#clear")
    assert len(shown.evaluate(ROWS)) == len(published)
    # A number is sorted as a number.
    shown.click("#published-by-others tr.heads th:nth-child(6) button")
    cells = "[...document.querySelectorAll('#published-by-others tr[data-row] td:nth-child(6)')]"
    values = shown.evaluate(f"{cells}.map((cell) => Number(cell.textContent))")
    assert values == sorted(values)


def test_copies_are_what_files_hold(opens: Opens, file: Path, board: Leaderboard) -> None:
    shown = opens(file.as_uri())
    sheet = main_sheet(board)
    assert copied(shown, "#main [data-copy=markdown]") == markdown(sheet)
    board.footnotes = ["what vlmguard¹ stands for"]
    lines = latex_lines(typeset(sheet), board.footnotes)
    board.footnotes = []
    assert copied(shown, "#main [data-copy=latex]") == "\n".join(each for _, each in lines) + "\n"
    shown.click('.chip[data-kind="defense"][data-name="vlmguard"]')
    some = copied(shown, "#main [data-copy=markdown]")
    assert "undefended |" not in some
    assert some.endswith("- 2 of 4 rows; best and second best are those of all rows.\n")
    (heads, *rows) = copied(shown, "#main [data-copy=csv]").strip().split("\n")
    assert len(rows) == 2
    assert heads.startswith('"Target","Defense"')
    assert all("vlmguard" in row for row in rows)


@pytest.mark.parametrize("width", [1280, 390])
def test_an_opened_row_keeps_to_the_screen_and_axe_finds_nothing(
    opens: Opens, file: Path, width: int
) -> None:
    for dark in (False, True):
        shown = opens(file.as_uri(), width=width, dark=dark)
        before = shown.evaluate("document.querySelector('#main-table').offsetWidth")
        # By keys: the name of a row is a button.
        shown.evaluate("document.querySelector('#main tr[data-row=\"1\"] .opener').focus()")
        shown.press("Enter")
        shown.wait("document.querySelector('tr.panel')")
        assert shown.evaluate("document.querySelector('#main-table').offsetWidth") == before
        assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert shown.evaluate(CUT) == []
        assert shown.evaluate(STICKY) == 0
        opened = shown.text("tr.panel")
        for expected in (
            "Category",
            "unparsed",
            "not marked: ",
            "inspect eval 'a b'",
            "after correction",
        ):
            assert expected in opened, expected
        link = "document.querySelector('tr.panel dd a').getAttribute('href')"
        assert shown.evaluate(link) == "logs/a%20b.eval"
        assert faults_of(shown) == []
        hints = shown.evaluate("document.querySelector('#main .hint').innerText")
        assert ("more column" in hints) == shown.evaluate(
            "document.querySelector('#main .card').scrollWidth > "
            "document.querySelector('#main .card').clientWidth + 1"
        )
        assert shown.complaints == []
    assert copied(shown, "tr.panel .command button") == "inspect eval 'a b'"


def test_printed_there_are_no_buttons_and_no_column_is_cut(opens: Opens, file: Path) -> None:
    shown = opens(file.as_uri())
    shown.send("Emulation.setEmulatedMedia", media="print")
    shown.evaluate("dispatchEvent(new Event('beforeprint'))")
    shown.send(
        "Emulation.setDeviceMetricsOverride",
        width=1040,
        height=700,
        deviceScaleFactor=1,
        mobile=False,
    )
    assert shown.evaluate(
        "[...document.querySelectorAll('#filters, .copy, nav, #theme')]"
        ".every((each) => getComputedStyle(each).display === 'none')"
    )
    cut = (
        "[...document.querySelectorAll('.card > table')]"
        ".filter((each) => each.getBoundingClientRect().right > 1041)"
    )
    assert shown.evaluate(f"{cut}.map((each) => each.id)") == []
    printed = shown.send("Page.printToPDF", preferCSSPageSize=True)
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        *(("+1,234", 1234.0), ("-1,234.50\n[0]", -1234.5), ("−3.5 ▼", -3.5), ("1.2 *", 1.2)),
        *(("< 0.001", 0.001 - 1e-9), ("0.97 / 1.2", 0.97), ("-", None), ("?", None)),
    ],
)
def test_what_a_cell_is_sorted_by(opens: Opens, file: Path, text: str, worth: float | None) -> None:
    shown = opens(file.as_uri())
    first = json.dumps(text.split("\n")[0])
    assert shown.evaluate(f"worth({first}, false)") == worth
