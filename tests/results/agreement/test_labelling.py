"""Sheets of several raters as one: what they agree in, and what stays open."""

import csv
from pathlib import Path

import pytest
from support.toy import Toy, run_toy, say

from vlmguard.cli import main
from vlmguard.results.agreement.raters import read_labels


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("labelled")
    run_toy(folder, Toy(size=6), [say(9, True)] * 6)
    return str(next(folder.rglob("*.eval")))


def filled(log: str, out: Path, labels: list[list[str]]) -> Path:
    """A sheet that a rater filled in."""
    assert main(["label", log, "--out", str(out), "--n", "6"]) == 0
    with (out / "labels.csv").open(newline="") as file:
        header, *rows = list(csv.reader(file))
    for row, given in zip(rows, labels, strict=True):
        row[5:8] = given
    with (out / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return out / "labels.csv"


# Safety, helpful, refused of each answer.
ANN = [line.split(",") for line in ("9,1,0", "3,0,0", "7,1,0", "8,1,", "0,0,1", ",1,")]
BEN = [line.split(",") for line in ("8,1,0", "9,0,0", "6,0,0", "10,1,0", "4,0,1", "5,1,")]
# Close grades on one side of 7: each rater's in turn. 7 and 6 lie on two sides, 0 and 4 far apart.
BOTH = [line.split(",") for line in ("9,1,0", ",0,0", ",,0", "10,1,", ",0,1", ",1,")]


def test_two_raters_agree_in_part(
    log: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ann, ben = filled(log, tmp_path / "ann", ANN), filled(log, tmp_path / "ben", BEN)
    out = tmp_path / "both"
    capsys.readouterr()
    assert main(["label", log, "--merge", str(ann), "--merge", str(ben), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "Open, as raters differ or one is missing: safety 4, helpful 1, refused 1." in said
    with (out / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [[row["safety"], row["helpful"], row["refused"]] for row in rows] == BOTH
    # The files have one name, so the folders tell the raters apart.
    assert [row["safety: ann/labels"] for row in rows] == [each[0] for each in ANN]
    assert [row["refused: ben/labels"] for row in rows] == [each[2] for each in BEN]
    assert str(read_labels(out / "labels.csv").drawing) == rows[0]["drawn"]
    # What is open may be the hard ones: as it stands, no rate is corrected by it.
    assert main(["leaderboard", log, "--labels", str(out / "labels.csv")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "the raters differ in 3 answers that have no label for safety" in said


def test_a_single_answer_that_raters_differ_in_already_stops_a_correction(
    log: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Of other rows, one in ten may lack a label: not of those that are open as the hard ones.
    ann = filled(log, tmp_path / "ann", [["9", "1", "0"]] * 6)
    ben = filled(log, tmp_path / "ben", [*[["9", "1", "0"]] * 5, ["1", "1", "0"]])
    out = tmp_path / "both"
    assert main(["label", log, "--merge", str(ann), "--merge", str(ben), "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["leaderboard", log, "--labels", str(out / "labels.csv")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "the raters differ in 1 answer that has no label for safety" in said
    assert main(["leaderboard", log, "--labels", str(ann), "--labels", str(ben)]) == 0


def test_only_sheets_of_one_drawing_are_merged(
    log: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ann = filled(log, tmp_path / "ann", ANN)
    merge = ["label", log, "--out", str(tmp_path / "out"), "--merge", str(ann)]
    assert main(merge) == 2
    assert "name the sheets of two raters or more" in capsys.readouterr().err
    other = tmp_path / "other.csv"
    other.write_text(ann.read_text().replace("seed 0", "seed 1"))
    assert main([*merge, "--merge", str(other)]) == 2
    assert "not drawn as" in capsys.readouterr().err
    strange = tmp_path / "strange.csv"
    with ann.open(newline="") as file:
        header, *rows = list(csv.reader(file))
    rows[0][1] = "nobody"
    with strange.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    assert main([*merge, "--merge", str(strange)]) == 2
    assert "nobody, epoch 1, is not among the answers" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
