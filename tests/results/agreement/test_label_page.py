"""The page in which people label answers: keys, what a browser keeps, the sheet that comes out."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.axe import faults_of
from support.browser import CHROMIUM, Opens, Page, browser

from vlmguard.results.agreement.label_page import LabelSheet
from vlmguard.results.logs.exchange import Exchange

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
DRAWING = "3 of 9 answers of abc, seed 0"
ANSWERS = [
    Exchange("What is it?", "", '=SUM(A1) "quoted"\n</script><b>x</b>', ()),
    Exchange("And this?", "", "Ärger; mit, Zeichen", ()),
    Exchange("Third", "", "I cannot.", ()),
]
SHEET = LabelSheet([(f"s/{number}", "1", {}) for number in range(3)], ANSWERS, DRAWING)
MERGED = LabelSheet(
    [(f"s/{number}", "1", {"safety": "7" if number else ""}) for number in range(3)],
    ANSWERS,
    DRAWING,
    ("ann", "ben"),
    [
        {
            "safety": ("7", "7") if number else ("2", "9"),
            "helpful": ("", ""),
            "refused": ("", ""),
        }
        for number in range(3)
    ],
)


@pytest.fixture(scope="module")
def open_page() -> Iterator[Opens]:
    with browser() as opens:
        yield opens


def opened(open_page: Opens, folder: Path) -> Page:
    """The page in a tab of its own; what the browser kept is still there."""
    file = folder / "labels.html"
    file.write_text(SHEET.page(images=False), encoding="utf-8")
    shown = open_page(file.as_uri())
    shown.wait("document.querySelector('#bar:not([hidden])')")
    return shown


@pytest.fixture
def page(open_page: Opens, tmp_path: Path) -> Page:
    opened(open_page, tmp_path).evaluate("localStorage.clear()")
    return opened(open_page, tmp_path)


def keys(page: Page, text: str) -> None:
    for letter in text:
        page.send("Input.dispatchKeyEvent", type="keyDown", key=letter, text=letter)
        page.send("Input.dispatchKeyEvent", type="keyUp", key=letter)


def downloaded(page: Page) -> tuple[str, list[list[str]]]:
    """Name and lines of the file that the button gives."""
    page.evaluate(
        "window.made = {}; const made = URL.createObjectURL;"
        "URL.createObjectURL = (file) => { window.made.file = file; return made(file); };"
        "HTMLAnchorElement.prototype.click = function () { window.made.name = this.download; };"
    )
    page.click("#download")
    name, text = page.evaluate("window.made.file.text().then((text) => [window.made.name, text])")
    return name, list(csv.reader(text.splitlines(keepends=True)))


def test_keys_label_answers_and_the_sheet_comes_out_cell_by_cell(page: Page) -> None:
    keys(page, "3hrr")  # refused: yes, then no
    keys(page, "jt")
    keys(page, "hh")
    assert page.text("#count") == "1 of 3 labelled, 1 with labels missing"
    name, (header, *lines) = downloaded(page)
    assert name == "labels.csv"
    wanted = list(csv.reader(SHEET.csv().splitlines(keepends=True)))
    assert header == wanted[0]
    wanted[1][5:8] = ["3", "1", "0"]
    wanted[2][5:8] = ["10", "0", ""]
    assert lines == wanted[1:]
    assert page.complaints == []


def test_a_browser_keeps_labels_and_takes_them_from_a_file(
    page: Page, open_page: Opens, tmp_path: Path
) -> None:
    page.evaluate("document.getElementById('rater').focus()")
    page.type("Ann O'Neil")
    page.evaluate("document.activeElement.blur()")
    keys(page, "8hr")
    name, lines = downloaded(page)
    assert name == "labels-Ann-O-Neil.csv"
    page = opened(open_page, tmp_path)
    assert page.text("#count") == "1 of 3 labelled"
    assert downloaded(page) == (name, lines)
    lines[2][5:8] = ["0", "0", "1"]
    file = tmp_path / "changed.csv"
    with file.open("w", newline="") as written:
        csv.writer(written, delimiter=";").writerows(lines)  # as spreadsheets may save it
    page.choose("#load", file)
    page.wait("document.getElementById('count').innerText === '2 of 3 labelled'")
    strange = tmp_path / "strange.csv"
    lines[1][1] = "another"
    with strange.open("w", newline="") as written:
        csv.writer(written).writerows(lines)
    page.choose("#load", strange)
    page.wait("document.getElementById('kept').className === 'lost'")
    assert page.text("#kept").startswith("strange.csv is no sheet of this page's answers")
    assert page.text("#count") == "2 of 3 labelled"


def test_typing_a_name_labels_nothing_and_clicks_do(page: Page) -> None:
    page.evaluate("document.getElementById('rater').focus()")
    keys(page, "h7")
    assert page.text("#count") == "0 of 3 labelled"
    second = '[data-row="1"] [data-measure="safety"][data-value="10"]'
    page.click(second)
    assert page.evaluate(f"document.querySelector({json.dumps(second)}).ariaPressed") == "true"
    page.click(second)
    assert page.evaluate(f"document.querySelector({json.dumps(second)}).ariaPressed") == "false"


def test_a_key_never_labels_an_answer_that_is_not_seen(open_page: Opens, tmp_path: Path) -> None:
    long = [Exchange(each.request, "", "word\n\n" * 120, ()) for each in ANSWERS]
    file = tmp_path / "long.html"
    file.write_text(LabelSheet(SHEET.rows, long, "3 of 9 answers of def, seed 0").page(False))
    shown = open_page(file.as_uri())
    shown.evaluate("document.querySelector('[data-row=\"2\"]').scrollIntoView()")
    keys(shown, "7")
    assert shown.text("#count") == "0 of 3 labelled"
    assert "nothing was labelled: press the key again" in shown.text("#kept")
    keys(shown, "7")
    assert shown.text('[data-row="2"] .state') == "not all labels"
    # What has the focus is framed: keys are about it.
    shown.send("Emulation.setFocusEmulationEnabled", enabled=True)
    shown.evaluate("document.querySelector('[data-row=\"1\"] button').focus()")
    keys(shown, "h")
    assert shown.text('[data-row="1"] .state') == "not all labels"


def test_the_next_person_starts_anew_and_gets_the_first_ones_file(
    page: Page, open_page: Opens, tmp_path: Path
) -> None:
    keys(page, "8hr")
    assert "another person's" in opened(open_page, tmp_path).text("#kept")
    _, before = downloaded(page)
    page.evaluate("window.made = {}")
    page.click("#anew")
    text = page.evaluate("window.made.file.text()")
    assert list(csv.reader(text.splitlines(keepends=True))) == before
    assert page.text("#count") == "0 of 3 labelled"
    assert opened(open_page, tmp_path).text("#count") == "0 of 3 labelled"


def test_two_tabs_of_a_page_do_not_undo_each_other(
    page: Page, open_page: Opens, tmp_path: Path
) -> None:
    other = opened(open_page, tmp_path)
    keys(page, "8hr")
    other.wait("document.getElementById('count').innerText === '1 of 3 labelled'")
    keys(other, "j8hr")
    assert opened(open_page, tmp_path).text("#count") == "2 of 3 labelled"


def test_a_file_without_a_column_takes_no_label_away(page: Page, tmp_path: Path) -> None:
    keys(page, "8hr")
    _, lines = downloaded(page)
    file = tmp_path / "short.csv"
    with file.open("w", newline="") as written:
        csv.writer(written).writerows([*line[:6], *line[7:]] for line in lines)
    page.choose("#load", file)
    page.wait("document.getElementById('kept').className === 'lost'")
    assert page.text("#count") == "1 of 3 labelled"


def test_sheets_merged_of_other_labels_do_not_share_what_a_browser_keeps(
    open_page: Opens, tmp_path: Path
) -> None:
    file = tmp_path / "merged.html"
    file.write_text(MERGED.page(images=False))
    keys(open_page(file.as_uri()), "3hr")
    rows = [(sample, epoch, {"safety": "8"}) for sample, epoch, _ in MERGED.rows]
    file.write_text(replace(MERGED, rows=rows).page(images=False))
    again = open_page(file.as_uri())
    assert again.text("#count") == "0 of 3 labelled, 3 with labels missing"


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_it_is_accessible_and_fits(
    open_page: Opens, tmp_path: Path, width: int, dark: bool
) -> None:
    file = tmp_path / "labels.html"
    file.write_text(MERGED.page(images=False), encoding="utf-8")
    shown = open_page(file.as_uri(), width=width, dark=dark)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert faults_of(shown) == []


def test_what_raters_differ_in_stands_open_and_alone_on_demand(
    open_page: Opens, tmp_path: Path
) -> None:
    file = tmp_path / "labels.html"
    file.write_text(MERGED.page(images=False), encoding="utf-8")
    shown = open_page(file.as_uri())
    assert shown.text('[data-row="0"] .differ') == "ann: 2, ben: 9"
    shown.click("#open")
    hidden = "[...document.querySelectorAll('article')].map((each) => each.hidden)"
    assert shown.evaluate(hidden) == [False, True, True]
