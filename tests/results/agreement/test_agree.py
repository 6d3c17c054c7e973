"""Agreement between raters, against coefficients computed by hand; the labelling sheet."""

import csv
import math
from pathlib import Path
from typing import Literal

import pytest
from inspect_ai.log import read_eval_log, write_eval_log

from vlmguard.cli import main
from vlmguard.guard.errors import UserError
from vlmguard.results.agreement.agree import agree
from vlmguard.results.agreement.raters import read_labels
from vlmguard.results.diff import diff
from vlmguard.results.stats.coefficients import cohen_kappa, krippendorff_alpha


def test_cohen_kappa_by_hand() -> None:
    # 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: observed 0.7, expected 0.5*0.6 + 0.5*0.4.
    pairs = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10 + [(False, False)] * 15
    assert cohen_kappa(pairs) == pytest.approx((0.7 - 0.5) / 0.5)
    assert math.isnan(cohen_kappa([(True, True)] * 3))
    assert math.isnan(cohen_kappa([]))


def alpha(units: list[list[float]], level: Literal["nominal", "interval"]) -> float:
    return krippendorff_alpha(units, level).value


def test_krippendorff_alpha_by_hand() -> None:
    # Units (0,0) (1,1) (0,1): one of three disagrees. Observed 2/6 of the values;
    # expected 2*3*3/(6*5) = 0.6; alpha = 1 - (1/3)/0.6.
    assert alpha([[0, 0], [1, 1], [0, 1]], "nominal") == pytest.approx(1 - (1 / 3) / 0.6)
    # Grades (1,2) (3,3): squares observed 2/4; expected pairs of 1 2 3 3:
    # 2*(1 + 4 + 4 + 1 + 1 + 0)/(4*3) = 22/12.
    assert alpha([[1, 2], [3, 3]], "interval") == pytest.approx(1 - 0.5 / (22 / 12))
    # A value of a single rater does not count; without variation there is no coefficient.
    assert alpha([[1, 1], [0, 0], [7]], "nominal") == 1.0
    assert math.isnan(alpha([[1, 1], [1, 1]], "nominal"))
    assert math.isnan(alpha([], "nominal"))


def test_three_raters_with_gaps() -> None:
    # Ten values: six 0, four 1. Unit (0,0,1): pairs 4 of 2*... each pair weighs 1/2.
    units: list[list[float]] = [[0, 0, 1], [0, 0], [1, 1, 1], [0, 0]]
    observed = (4 / 2) / 10
    expected = 2 * 6 * 4 / (10 * 9)
    assert alpha(units, "nominal") == pytest.approx(1 - observed / expected)


@pytest.fixture
def two_judges(matrix: Path, tmp_path: Path) -> list[str]:
    """A log, and the same answers with two of six grades moved across the threshold."""
    log = next(
        log
        for path in sorted((matrix / "guard").glob("*.eval"))
        if (log := read_eval_log(str(path))).eval.task == "toy" and "alpha" in log.eval.model
    )
    paths = [str(tmp_path / "a.eval"), str(tmp_path / "b.eval")]
    write_eval_log(log, paths[0])
    for sample in (log.samples or [])[:2]:
        sample.scores["judge"].value["safety"] = 2.0  # type: ignore[index, call-overload]
    write_eval_log(log, paths[1])
    return paths


def test_two_judges_of_the_same_answers(two_judges: list[str]) -> None:
    by_measure = {each.measure: each for each in agree(two_judges)}
    safety = by_measure["safety"]
    # 9 9 8 8 6 6 against 2 2 8 8 6 6: safe 4 and 2 of 6, alike in 4.
    (pair,) = safety.pairs.values()
    assert (safety.raters, safety.items, pair.same.value) == (2, 6, pytest.approx(4 / 6))
    expected = (4 / 6) * (2 / 6) + (2 / 6) * (4 / 6)
    assert pair.kappa.value == pytest.approx((4 / 6 - expected) / (1 - expected))
    # Unsafe are 2 by the first, 4 by the second, and both say so of the last two.
    assert (pair.sensitivity.value, pair.specificity.value) == (1.0, 0.5)
    assert (pair.precision.value, pair.f1.value) == (0.5, pytest.approx(2 / 3))
    (helpful,), (refused,) = (by_measure[name].pairs.values() for name in ("helpful", "refused"))
    assert helpful.same.value == 1.0
    assert math.isnan(helpful.kappa.value)
    assert refused.kappa.value == 1.0


def test_different_answers_are_refused(matrix: Path) -> None:
    logs = sorted(str(path) for path in matrix.rglob("*.eval"))
    toys = [path for path in logs if read_eval_log(path, header_only=True).eval.task == "toy"]
    with pytest.raises(UserError, match="inspect score"):
        agree(toys[:2])


def test_sheet_is_blind_and_goes_back_in(
    two_judges: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sheet"
    assert main(["label", two_judges[0], "--out", str(out), "--n", "0"]) == 2
    assert main(["label", two_judges[0], "--out", str(out), "--n", "4"]) == 0
    rows = list(csv.DictReader((out / "labels.csv").open()))
    assert len(rows) == 4
    both = (out / "labels.csv").read_text() + (out / "labels.html").read_text()
    for secret in ("mockllm", "alpha", "vlmguard", "grader", "Seen."):
        assert secret not in both
    assert main(["label", two_judges[0], "--out", str(out)]) == 2  # would overwrite labels
    with (out / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "safety": "8", "helpful": "1"} for row in rows[:3])
    assert main(["agreement", two_judges[0], str(out / "labels.csv")]) == 0
    said = capsys.readouterr().out
    assert "Reference for helpful: labels.csv." in said  # people's labels are the truth
    lines = [line.split() for line in said.splitlines() if line.strip().startswith("helpful ")]
    assert lines[-1][:3] == ["helpful", "2", "3"]


@pytest.mark.parametrize("how", ["started", "invalidated"])
def test_no_sheet_of_a_log_that_is_not_whole(
    two_judges: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    log = read_eval_log(two_judges[0])
    if how == "started":
        log.status = "started"
    else:
        log.invalidated = True
    write_eval_log(log, two_judges[0])
    assert main(["label", two_judges[0], "--out", str(tmp_path / "sheet")]) == 2
    assert f"{two_judges[0]}: cannot be read whole" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "needs a column 'sample'"),
        ("sample,helpful\nx,2\n", "line 2: helpful is '2'"),
        ("sample,safety\nx,1\ny,7.5\n", "line 3: safety is '7.5'"),
        ("", "needs a column 'sample'"),
        ("sample,epoch,helpful\nx,1,0\ny,one,1\n", "line 3: epoch is 'one'"),
        ("sample,epoch,helpful\nx,1,0\nx,2,0\nx,1,1\n", "line 4: x, epoch 1, stands in line 2"),
        ('sample,answer,helpful\nx,"two\nlines",0\ny,z,9\n', "line 4: helpful is '9'"),
        ("helpful,sample\n1,x\n1\n", "line 3: the sample is missing"),
    ],
)
def test_broken_sheets_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_labels(path)


def test_a_folder_with_one_log_is_that_log(two_judges: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "single"
    folder.mkdir()
    Path(two_judges[1]).rename(folder / "b.eval")
    assert agree([two_judges[0], str(folder)])[0].items == 6
    (tmp_path / "pair").mkdir()
    for name in ("a", "c"):
        log = read_eval_log(two_judges[0])
        log.eval.model = f"mockllm/{name}"
        write_eval_log(log, str(tmp_path / "pair" / f"{name}.eval"))
    (tmp_path / "pair" / "broken.eval").write_bytes(b"PK")
    with pytest.raises(UserError, match="it holds 2 logs"):
        agree([str(tmp_path / "pair"), two_judges[0]])
    with pytest.raises(UserError, match="it holds 2 logs"):
        diff(str(tmp_path / "pair"), two_judges[0])


def test_who_rated_nothing_is_no_rater_of_that(two_judges: list[str], tmp_path: Path) -> None:
    sheet = tmp_path / "labels.csv"
    sheet.write_text("sample,epoch,safety,helpful,refused\ntoy/0,1,,1,\ntoy/1,1,,0,\n")
    by_measure = {each.measure: each for each in agree([str(sheet), *two_judges])}
    assert by_measure["helpful"].raters == 3
    (pair,) = by_measure["safety"].pairs.values()
    assert (by_measure["safety"].raters, pair.same.value) == (2, pytest.approx(4 / 6))


def test_grades_are_cut_where_the_log_cut_them(two_judges: list[str], tmp_path: Path) -> None:
    log = read_eval_log(two_judges[0])
    for sample in log.samples or []:
        (sample.scores or {})["judge"].metadata["threshold"] = 6.0  # type: ignore[index]
    write_eval_log(log, two_judges[0])
    sheet = tmp_path / "labels.csv"
    sheet.write_text("sample,safety\ntoy/4,6\ntoy/5,5\n")
    # The judge gave 6 and 6, the person 6 and 5: alike at 6 in one of two, at 7 in both.
    (pair,) = agree([two_judges[0], str(sheet)])[0].pairs.values()
    assert pair.same.value == 0.5


def test_ids_that_look_like_formulas_find_their_way_back(
    two_judges: list[str], tmp_path: Path
) -> None:
    log = read_eval_log(two_judges[0])
    (log.samples or [])[0].id = "=evil"
    log.eval.dataset.sample_ids = [sample.id for sample in log.samples or []]
    write_eval_log(log, two_judges[0])
    out = tmp_path / "sheet"
    assert main(["label", two_judges[0], "--out", str(out)]) == 0
    rows = list(csv.reader((out / "labels.csv").open()))
    assert "'=evil" in {row[1] for row in rows}
    with (out / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(rows[0])
        writer.writerows([*row[:-2], "1", row[-1]] for row in rows[1:] if row[1] == "'=evil")
    (refused,) = agree([two_judges[0], str(out / "labels.csv")])
    assert (refused.measure, refused.items) == ("refused", 1)
