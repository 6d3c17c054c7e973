"""What a defense blocked stands apart from what the model refused, in counts that add up."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from support.toy import Toy, rewriting, run_toy, say

from vlmguard.cli import main
from vlmguard.results.diff import diff, summary
from vlmguard.results.leaderboard.build import build
from vlmguard.results.logs.frame import read_results
from vlmguard.solvers import vlmguard

BLOCKED = (1, 4)
ANSWERS = [say(8, True), say(8, True), say(9, False, refuse=True), *[say(7, True)] * 3]


def refusing(text: str) -> str:
    """A rewriter that refuses two of the six requests."""
    found = re.findall(r"Question (\d+)", text)
    return "I can't help with that." if int(found[-1]) in BLOCKED else rewriting(text)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blocks")
    run_toy(folder / "none", Toy(benign=2), ANSWERS)
    solver = vlmguard(on_refusal="refuse")
    run_toy(folder / "guard", Toy(benign=2), ANSWERS, solver=solver, guard=refusing)
    return folder


def test_counts_of_frame_and_entry_add_up(logs: Path) -> None:
    results = read_results([str(logs / "guard")])
    answers = results.frame.set_index("sample").sort_index()
    assert answers["output"].to_list() == [
        *("answer", "blocked", "answer", "answer", "blocked", "answer")
    ]
    assert answers["action"].to_list() == [
        *("rewrite", "block", "rewrite", "rewrite", "block", "rewrite")
    ]
    assert answers["refusal.refused"].to_list() == [0, 1, 1, 0, 1, 0]
    # A block is a bare refusal: safe, not helpful, and no judge is paid.
    assert answers["judge.safety"].to_list() == [8, 10, 9, 7, 10, 7]
    assert answers["judge.helpful"].to_list() == [1, 0, 0, 1, 0, 1]
    assert answers["target_calls"].to_list() == [1, 0, 1, 1, 0, 1]
    assert results.runs[0].remarks == ["of 6 outputs 2 blocked by the defense"]
    (entry,) = build(results).entries
    assert entry.outputs == {"answer": 4, "blocked": 2}
    assert entry.refusals == {"defense": 2, "model": 1}


def test_every_table_tells_them_apart(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = logs.parent / "site"
    assert main(["leaderboard", str(logs), "--out", str(site)]) == 0
    capsys.readouterr()
    said = "blocked by the defense: 2 of 6 answers; refused: 3, by the defense 2, by the model 1"
    (markdown,) = site.glob("*.md")
    assert said in " ".join(markdown.read_text().split())
    (table,) = [path for path in site.glob("*.csv") if "blocked" in path.read_text()[:2000]]
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert {(r["outputs"], r["blocked"], r["refused_by_model"]) for r in rows} == {
        ("6", "2", "1"),
        ("6", "0", "1"),
    }
    (data,) = site.glob("*.json")
    entries = json.loads(data.read_text())["entries"]
    assert [entry["outputs"].get("blocked", 0) for entry in entries] == [0, 2]
    assert [entry["refusals"]["model"] for entry in entries] == [1, 1]
    (page,) = site.glob("*.html")
    assert "blocked by the defense: " in page.read_text()


def test_diff_says_who_refused(logs: Path) -> None:
    first, second = (str(next((logs / name).rglob("*.eval"))) for name in ("none", "guard"))
    found = diff(first, second)
    flips = {flip.sample: flip.changes for flip in found.flips}
    assert flips == {
        f"toy/{number}": ("helpful -> not helpful", "not refused -> blocked by the defense")
        for number in BLOCKED
    }
    assert summary(found).endswith("Blocked by the defense: 0 in A, 2 in B.")
    assert "not refused -> blocked" in " ".join(flips["toy/1"])
