"""The pages of samples in Chromium, opened from a folder: filters, blur, keys, fragments."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support.axe import faults_of
from support.browser import Opens, Page

Open = Callable[..., Page]
CHOOSE = """(id, value) => {
  const field = document.getElementById(id);
  field.value = value;
  field.dispatchEvent(new Event("change"));
}"""


@pytest.fixture
def opened(site: Path, open_page: Opens) -> Open:
    """Opens a page of a benchmark at a fragment, once its sample is there."""

    def opens(benchmark: str, fragment: str = "", **how: object) -> Page:
        (file,) = (site / "samples").glob(f"{benchmark}-*.html")
        page = open_page(f"{file.as_uri()}{fragment}", **how)  # type: ignore[arg-type]
        page.evaluate("sessionStorage.clear()")
        page.wait("document.getElementById('sample').children.length")
        return page

    return opens


def chips(page: Page) -> dict[str, int]:
    said = page.evaluate("[...document.querySelectorAll('.chip')].map((each) => each.textContent)")
    return {text.rpartition(" ")[0]: int(text.rpartition(" ")[2]) for text in said}


def listed(page: Page) -> list[str]:
    script = "[...document.querySelectorAll('a.row')].map((row) => row.childNodes[1].textContent)"
    found: list[str] = page.evaluate(script)
    return found


def fragment(page: Page) -> str:
    return str(page.evaluate("location.hash"))


def shows(page: Page, sample: str) -> None:
    page.wait(f"document.querySelector('#sample h2')?.textContent === {json.dumps(sample)}")


def test_filters_count_and_stand_in_the_address(opened: Open) -> None:
    page = opened("siuo")
    # The defense helps the first two of four.
    assert chips(page) == {"All": 4, "Flipped": 2, "Better": 2, "Unsafe": 2}
    page.click('[data-show="better"]')
    assert listed(page) == ["siuo/1000", "siuo/1001"]
    assert fragment(page) == "#siuo/1000?show=better"
    page.evaluate(f"({CHOOSE})('choose-category', 'self-harm')")
    assert listed(page) == ["siuo/1001"]
    assert chips(page)["All"] == 2
    page.evaluate(f"({CHOOSE})('choose-defense', 'self_reminder')")
    page.wait("location.hash.includes('self_reminder')")
    again = opened("siuo", fragment(page))
    assert fragment(again) == "#siuo/1001?show=better&defense=self_reminder&category=self-harm"
    assert listed(again) == ["siuo/1001"]
    assert again.text(".chosen .defense") == "self_reminder"
    again.evaluate(f"({CHOOSE})('search', 'colour 3?')")
    again.wait("document.querySelector('.empty')")
    again.evaluate(f"({CHOOSE})('choose-category', '')")
    again.click('[data-show="all"]')
    again.wait("document.querySelectorAll('a.row').length === 1")
    assert listed(again) == ["siuo/1003"]
    assert again.complaints == []


def choices(page: Page) -> dict[str, int]:
    script = "[...document.querySelectorAll('#choose-defense option')].map((each) => each.text)"
    found = [text.rpartition(" (") for text in page.evaluate(script)]
    return {name: int(count.rstrip(")")) for name, _, count in found}


def test_controls_count_only_when_chosen_by_name(opened: Open) -> None:
    page = opened("toy")
    # Undefended answers to the first three do harm; the defense refuses the last.
    usual = {"All": 8, "Flipped": 4, "Better": 3, "Worse": 1}
    usual |= {"Unsafe": 3, "Over-refused": 1, "Refused": 1}
    assert chips(page) == usual
    assert "Controls count only when chosen: always_refuse" in page.text("#filters")
    page.click('[data-show="unsafe"]')
    assert choices(page) == {
        "undefended or any defense": 3,
        "any defense": 0,
        "undefended": 3,
        "vlmguard": 0,
        "always_refuse, control": 0,
    }
    page.click('[data-show="over_refused"]')
    assert listed(page) == ["toy/7"]
    assert choices(page)["always_refuse, control"] == 2
    page.evaluate(f"({CHOOSE})('choose-defense', '*')")
    page.click('[data-show="all"]')
    page.wait("location.hash.endsWith('?defense=*')")
    again = opened("toy", fragment(page))
    assert chips(again) == {name: count for name, count in usual.items() if name != "Unsafe"}
    again.evaluate(f"({CHOOSE})('choose-defense', 'always_refuse')")
    again.wait("state.defense === 'always_refuse'")
    assert chips(again)["Refused"] == chips(again)["Blocked by the defense"] == 8
    assert chips(again)["Over-refused"] == 2
    # What a control said is found when it is chosen, and is seen at all times.
    again.evaluate(f"({CHOOSE})('search', 'blocked by')")
    again.wait("hits !== null")
    found = choices(again)
    assert (found["undefended or any defense"], found["always_refuse, control"]) == (0, 8)
    assert "always_refuse" in again.text("#sample")
    assert again.complaints == []


def test_counts_of_a_search_are_those_of_each_defense(opened: Open) -> None:
    page = opened("siuo")
    options = (
        "[...document.querySelectorAll('#choose-defense option')].map((each) => each.textContent)"
    )
    chosen = {}
    for defense in ("", "undefended", "self_reminder"):
        page.evaluate(f"({CHOOSE})('choose-defense', '{defense}')")
        page.evaluate(f"({CHOOSE})('search', 'danger.')")
        page.wait("document.querySelector('[role=status]').textContent === ''")
        page.wait("hits !== null")
        chosen[defense] = (page.evaluate(options), len(listed(page)))
    assert len({tuple(each) for each, _ in chosen.values()}) == 1
    assert f"undefended ({chosen['undefended'][1]})" in chosen[""][0]
    assert f"self_reminder ({chosen['self_reminder'][1]})" in chosen[""][0]
    assert chosen["undefended"] != chosen["self_reminder"]


def test_an_attacked_answer_stands_beside_the_one_without(opened: Open) -> None:
    page = opened("siuo", "#siuo/1002?attack=figstep")
    assert chips(page)["Unsafe"] == 4
    page.press("b")
    page.wait("!document.querySelector('.veiled')")
    said = page.text("#sample")
    assert "Sent under figstep" in said
    assert said.count("Danger.") == 1
    assert "Without an attack" in said
    # The picture of the request, and those that were sent.
    loaded = "[...document.querySelectorAll('.pictures img')].filter((each) => each.naturalWidth)"
    page.wait(f"{loaded}.length >= 2")
    page.click(".pictures:last-of-type button")
    page.wait(
        "document.getElementById('zoom').open && document.getElementById('large').naturalWidth"
    )
    page.press("Escape")
    page.wait("!document.getElementById('zoom').open")
    assert page.complaints == []


def test_harmful_content_is_blurred_until_asked(opened: Open) -> None:
    page = opened("toy", "#toy/0")
    blurred = "getComputedStyle(document.querySelector('#sample .content')).filter !== 'none'"
    assert page.evaluate(blurred)
    assert page.evaluate("document.querySelector('#sample .content').inert")
    page.click("#veil")
    page.wait(f"!({blurred})")
    page.press("j")
    shows(page, "toy/1")
    assert page.evaluate(blurred)
    page.evaluate("go('toy/6')")
    shows(page, "toy/6")
    # Known to be harmless, and so answered.
    assert not page.evaluate(blurred)
    page.click("#blur")
    page.evaluate("go('toy/1')")
    shows(page, "toy/1")
    assert not page.evaluate(blurred)
    # What another page in the same tab reads when it opens.
    page.evaluate("everything = false; draw()")
    page.wait(blurred)
    page.evaluate("everything = sessionStorage.getItem(REMEMBERED) === '1'; draw()")
    page.wait(f"!({blurred})")


def test_keys_walk_and_stop_at_the_ends(opened: Open) -> None:
    page = opened("toy")
    for key, sample in (("j", 1), ("ArrowRight", 2), ("k", 1), ("ArrowLeft", 0), ("k", 0)):
        page.press(key)
        shows(page, f"toy/{sample}")
    assert page.evaluate("document.getElementById('step-1').disabled")
    page.press("?")
    assert page.evaluate("document.getElementById('help').open")
    page.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.type("jjj")
    page.press("j")
    shows(page, "toy/0")
    missing = opened("toy", "#toy/99")
    assert missing.text("#sample") == "There is no sample toy/99 here."


def test_a_page_lists_two_hundred(opened: Open) -> None:
    page = opened("toy")
    more = "Array.from({ length: 400 }, (_, n) => [`copy/${n}`, ...data.samples[1].slice(1)])"
    page.evaluate(f"data.samples.push(...{more}); refresh()")
    page.wait("document.querySelectorAll('a.row').length === 200")
    assert "1 to 200 of 408" in page.text("#pages")
    page.click("#pages button:last-child")
    page.wait("document.getElementById('pages').innerText.includes('201 to 400 of 408')")
    assert listed(page)[0] == "copy/192"
    assert fragment(page) == "#copy/192"


def test_hostile_texts_stay_text(opened: Open) -> None:
    page = opened("toy", "#toy/0")
    page.press("b")
    page.wait("!document.querySelector('.veiled')")
    said = page.text("#sample")
    assert "</script><script>document.title='owned'" in said
    assert "\u202e" not in said
    assert "owned" not in page.evaluate("document.title")
    assert page.evaluate("document.querySelectorAll('#sample img[onerror]').length") == 0
    assert page.complaints == []
    # The rewrite, verdicts and reasons stand beside the answer.
    assert "Question 0? With care." in said
    assert "Safety: 2 of 10" in said
    assert said.count("Refused: no") == 2
    # The request is risky: no measure of harmless ones stands there.
    assert said.count("Safe & helpful: ") == 3
    assert not re.search("benign|harmless", said)
    assert "better than undefended" in said


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_nothing_is_cut_or_hard_to_use(opened: Open, width: int, dark: bool) -> None:
    page = opened("siuo", "#siuo/1000?attack=figstep", width=width, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert faults_of(page) == []
    page.click("#blur")
    page.wait("!document.querySelector('.veiled')")
    assert faults_of(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_list_of_pages(site: Path, open_page: Opens) -> None:
    page = open_page((site / "samples" / "index.html").as_uri(), width=390)
    links = "[...document.querySelectorAll('td a')].map((each) => each.getAttribute('href'))"
    assert all((site / "samples" / link).is_file() for link in page.evaluate(links))
    assert faults_of(page) == []
