"""The page in a browser: its data, table, sorting and filters."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from vlmguard.results.leaderboard.extras import Extras
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.page import page
from vlmguard.results.leaderboard.published_numbers import load_published

CLICKS = """
<script>
const press = (selector, text) => [...document.querySelectorAll(selector)]
  .find((node) => node.textContent.trim().startsWith(text)).click();
const shown = () => [...document.querySelectorAll("tr.row > td:first-child button")]
  .map((node) => node.textContent).join(" ");
const said = [];
said.push(shown());
press("th.sort button", "Safety");
said.push(shown());
press("th.sort button", "Safety");
said.push(shown());
press(".chip", "vlmguard");
said.push(shown());
press(".chip", "mockllm/beta");
said.push(shown());
press("tr.row td button", "vlmguard");
const opened = document.querySelector("td.detail").innerText;
const counts = "total 6, missing image 0, target error 0, no answer 0, judge failed 0, unparsed 1";
said.push(opened.includes("Category") && opened.includes(counts));
press(".chip", "Large");
said.push(document.querySelectorAll("th.span").length);
press("#theme", "");
said.push(document.documentElement.dataset.theme);
document.title = said.join("|");
</script>
"""


SEARCH = """
<script>
const field = document.getElementById("search");
field.value = "ETA gemma";
field.dispatchEvent(new Event("input"));
const shown = [...document.querySelectorAll("#published tbody tr")].filter((row) => !row.hidden);
const name = (row) => `${row.cells[2].textContent}: ${row.cells[3].textContent}`;
document.title = shown.map(name).join("|");
</script>
"""


def browse(file: Path, *options: str) -> str:
    """The page in a browser after its scripts have run."""
    result = subprocess.run(
        [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", *options),
            *("--virtual-time-budget=3000", "--dump-dom", file.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    return result.stdout


def test_page_embeds_the_numbers_and_no_markup(evil: Leaderboard, name_with_markup: str) -> None:
    text = page(evil, [], {}, Extras())
    assert text.count("</script>") == 3
    embedded = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
    assert embedded
    content = json.loads(embedded[1])
    assert name_with_markup in {row[0] for row in content["rows"]}
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")
def test_page_in_a_browser(evil: Leaderboard, tmp_path: Path) -> None:
    file = tmp_path / "leaderboard.html"
    published = load_published({"SIUO"})
    text = page(evil, published, [], Extras()).replace("</body>", SEARCH + "</body>")
    file.write_text(text, encoding="utf-8")
    dom = browse(file).split('<script type="application/json"')[0]
    found = [
        f"{each.target}: {each.method}"
        for each in published
        if all(word in " ".join(map(str, vars(each).values())).lower() for word in ("eta", "gemma"))
    ]
    assert 0 < len(found) < len(published)
    assert f"<title>{'|'.join(found)}</title>" in dom
    assert "&lt;/script&gt;&lt;b&gt;x&lt;/b&gt;" in dom
    assert "<b>" not in dom
    for expected in ("7.67", "+3.67", "+6.00 ▲", "5 of 6", "VLMGuard-R1", "failed 16.7 %"):
        assert expected in dom, expected


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")
def test_a_name_breaks_between_its_words(board: Leaderboard, tmp_path: Path) -> None:
    file = tmp_path / "leaderboard.html"
    told = 'breakable("vlmguard (gate=a_b)").map((each) => each.outerHTML ?? each).join("|")'
    text = page(board, [], [], Extras())
    file.write_text(text.replace("</body>", f"<script>document.title = {told}</script></body>"))
    (title,) = re.findall("<title>(.*?)</title>", browse(file))
    assert title == "vlmguard (gate=|&lt;wbr&gt;|a_|&lt;wbr&gt;|b)"


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")
@pytest.mark.parametrize(("scheme", "after"), [("0", "light"), ("1", "dark")])
def test_sorting_filtering_and_opening_rows(
    board: Leaderboard, tmp_path: Path, scheme: str, after: str
) -> None:
    file = tmp_path / "leaderboard.html"
    file.write_text(page(board, [], [], Extras()).replace("</body>", CLICKS + "</body>"))
    dom = browse(file, f"--blink-settings=preferredColorScheme={scheme}")
    (title,) = re.findall("<title>(.*?)</title>", dom)
    u, v = "undefended", "vlmguard"
    assert title.split("|") == [
        f"{u} {v} {u} {v}",
        # On Large, where alpha went from 3 to 9 and beta has no run: highest first, then lowest.
        f"{v} {u} {u} {v}",
        f"{u} {v} {u} {v}",
        f"{v} {v}",
        *(v, "true", "1", after),
    ]
