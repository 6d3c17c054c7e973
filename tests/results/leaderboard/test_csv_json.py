"""The numbers for other programs."""

import csv
import io
import json
from pathlib import Path

import pytest
from support.clones import clone, template_log

from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.extras import Extras
from vlmguard.results.leaderboard.model import Leaderboard
from vlmguard.results.leaderboard.publish import as_csv, as_json
from vlmguard.results.leaderboard.published_numbers import load_published
from vlmguard.results.logs.frame import read_results


def test_csv_and_json_hold_the_numbers(
    board: Leaderboard, evil: Leaderboard, name_with_markup: str
) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(board))))
    (row,) = [
        row
        for row in rows
        if (row["target"], row["defense"], row["benchmark"], row["measure"])
        == ("mockllm/alpha", "vlmguard", "toy", "safety")
    ]
    assert float(row["mean"]) == pytest.approx(46 / 6)
    # Six samples of three images: too few for an interval.
    assert (row["scored"], row["of"], row["difference_low"], row["pairs"]) == ("6", "6", "", "6")
    assert (row["cost"], row["verdict"]) == ("", "")
    content = json.loads(as_json(board, load_published({"SIUO"}), Extras()))
    # Three runs with a partner; refusals are not tested, nor measures without differences.
    assert (content["endpoint_tests"], content["tests"]) == (2, 6)
    assert {each["benchmark"] for each in content["published"]} == {"SIUO"}
    assert name_with_markup in {row["target"] for row in csv.DictReader(io.StringIO(as_csv(evil)))}


def test_json_refers_to_groups_and_runs_by_their_places(board: Leaderboard) -> None:
    content = json.loads(as_json(board, [], Extras()))
    assert "runs" not in content
    assert [group["label"] for group in content["groups"]] == ["Large hard", "Toy all"]
    for entry, held in zip(content["entries"], board.entries, strict=True):
        assert content["groups"][entry["group"]]["label"] == held.group.label
        assert board.runs[entry["run"]] is held.run
    kinds = (content["gains"], board.gains), (content["duels"], board.duels)
    for written, held_by in kinds:
        assert [each["group"] for each in written] == [
            board.groups.index(each.group) for each in held_by
        ]
    assert content["gains"]
    assert content["duels"]


def test_no_text_is_a_formula_in_csv(tmp_path: Path) -> None:
    log = template_log(tmp_path / "template", 4)
    path = tmp_path / "logs" / "formula.eval"
    clone(log, path, lambda _: (5.0, 1.0, 0.0), benchmark="=1+1", variant="@x", target="+y")
    (row, *_) = csv.DictReader(io.StringIO(as_csv(build(read_results([str(path)])))))
    assert [row[name] for name in ("target", "benchmark", "variant")] == ["'+y", "'=1+1", "'@x"]
