"""What a defense did not look at is counted, and every table shows it."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from support.scripted import picture, user
from support.toy import Toy, run_toy, say

from vlmguard.cli import main
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.model import Entry
from vlmguard.results.logs.frame import read_results
from vlmguard.solvers import caption_only

ANSWERS = [say(8, True)] * 6


@dataclass
class Pictured(Toy):
    """The first three of its six samples have an image."""

    def samples(self) -> list[Sample]:
        made = super().samples()
        for sample in made[:3]:
            sample.input = [user(str(sample.input), picture())]
        return made


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("skipped")
    run_toy(folder / "none", Pictured(), ANSWERS)
    run_toy(folder / "guard", Pictured(), ANSWERS, solver=caption_only())
    run_toy(folder / "all", Toy(variant="text"), ANSWERS, solver=caption_only())
    return folder


def only_entry(folder: Path) -> Entry:
    (entry,) = build(read_results([str(folder)])).entries
    return entry


def test_the_frame_says_of_each_answer_why_it_was_not_looked_at(logs: Path) -> None:
    answers = read_results([str(logs / "guard")]).frame.set_index("sample").sort_index()
    assert answers["skipped"].to_list() == ["", "", "", *["no_image"] * 3]


def test_a_row_counts_them(logs: Path) -> None:
    guarded, all_of_them = only_entry(logs / "guard"), only_entry(logs / "all")
    assert (guarded.skipped, guarded.skip_reasons) == (0.5, {"no_image": 3})
    assert (all_of_them.skipped, all_of_them.skip_reasons) == (1.0, {"no_image": 6})
    # Nothing is there that could look.
    undefended = only_entry(logs / "none")
    assert (undefended.skipped, undefended.skip_reasons) == (None, {})


def changed(folder: Path, to: Path, change: Callable[[EvalLog], None]) -> Path:
    """A copy of the only log of a folder."""
    (path,) = folder.rglob("*.eval")
    log = read_eval_log(str(path))
    change(log)
    to.mkdir()
    write_eval_log(log, str(to / "a.eval"))
    return to


def test_in_an_older_log_they_are_not_known(logs: Path, tmp_path: Path) -> None:
    def forget(log: EvalLog) -> None:
        for sample in log.samples or []:
            for score in (sample.scores or {}).values():
                del (score.metadata or {})["defense"]["skipped"]

    old = only_entry(changed(logs / "guard", tmp_path / "old", forget))
    assert (old.skipped, old.skip_reasons) == (None, {})
    assert old.cells["safety"].mean == 8.0


def test_every_table_shows_them(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = logs.parent / "skipped-site"
    assert main(["leaderboard", str(logs), "--out", str(site)]) == 0
    capsys.readouterr()
    markdown = (site / "leaderboard.md").read_text()
    said = "caption_only: not looked at by it: no_image 3."
    assert said in markdown.replace("\\_", "_")
    assert "skipped 50.0 %" in markdown
    assert "skipped 100.0 %" in markdown
    rows = list(csv.DictReader(io.StringIO((site / "leaderboard.csv").read_text())))
    assert {(r["defense"], r["variant"], r["skipped"]) for r in rows} == {
        ("undefended", "all", ""),
        ("caption_only", "all", "0.5"),
        ("caption_only", "text", "1.0"),
    }
    entries = json.loads((site / "leaderboard.json").read_text())["entries"]
    told = [entry["skip_reasons"] for entry in entries]
    assert sorted(told, key=len) == [{}, {"no_image": 3}, {"no_image": 6}]
    page = (site / "leaderboard.html").read_text()
    assert "skipped 50.0 %" in page
    assert "Not looked at: no_image 3." in page
