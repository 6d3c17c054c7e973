"""The page of flipped samples in a browser: what is filtered, sorted and said."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.axe import faults_of
from support.browser import CHROMIUM, Opens, Page, browser
from support.toy import Toy, run_toy, say

from vlmguard.cli import main

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of twelve samples 2 get worse, 3 better, and one is only refused."""
    folder = tmp_path_factory.mktemp("flips")
    before = [say(9, True)] * 2 + [say(2, True)] * 3 + [say(9, True)] * 7
    after = [say(2, True)] * 2 + [say(9, True)] * 3 + [say(9, True, True)] + [say(9, True)] * 6
    run_toy(folder / "a", Toy(size=12), before)
    run_toy(folder / "b", Toy(size=12), after, defended=True)
    logs = [str(next((folder / name).rglob("*.eval"))) for name in "ab"]
    assert main(["diff", *logs, "--html", str(folder / "flips.html")]) == 0
    return folder / "flips.html"


@pytest.fixture(scope="module")
def open_page() -> Iterator[Opens]:
    with browser() as opens:
        yield opens


def shown(page: Page) -> list[str]:
    samples: list[str] = page.evaluate(
        "[...document.querySelectorAll('article:not([hidden])')].map((each) => each.dataset.sample)"
    )
    return samples


def test_flips_are_counted_filtered_and_sorted(open_page: Opens, file: Path) -> None:
    page = open_page(file.as_uri())
    assert page.text("#bar [role=group]").split() == [
        *("all", "6", "▼", "worse", "2", "▲", "better", "3", "neither", "1")
    ]
    first = shown(page)
    assert set(first[:2]) == {"toy/0", "toy/1"}  # the worst
    page.click('[data-direction="better"]')
    assert set(shown(page)) == {"toy/2", "toy/3", "toy/4"}
    assert page.text("#shown") == "3 of 6 flips"
    page.evaluate(
        "document.getElementById('order').value = 'sample';"
        "document.getElementById('order').dispatchEvent(new Event('change'))"
    )
    assert shown(page) == ["toy/2", "toy/3", "toy/4"]
    page.click("#words")
    page.type("toy/3")
    assert shown(page) == ["toy/3"]
    # The address alone leads somebody else to the same view.
    address = page.evaluate("location.href")
    assert shown(open_page(address)) == ["toy/3"]
    assert page.complaints == []


def test_a_kind_of_change_alone(open_page: Opens, file: Path) -> None:
    page = open_page(f"{file.as_uri()}#kind=not+refused+-%3E+refused")
    assert shown(page) == ["toy/5"]
    broken = open_page(f"{file.as_uri()}#kind=none&order=none&direction=%E0%A4%A")
    assert len(shown(broken)) == 6


@pytest.mark.parametrize(("width", "dark"), [(1280, True), (390, False)])
def test_it_is_accessible_and_fits(open_page: Opens, file: Path, width: int, dark: bool) -> None:
    page = open_page(file.as_uri(), width=width, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert faults_of(page) == []
