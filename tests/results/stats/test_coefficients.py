"""Intervals of agreement, and agreement on verdicts in columns of CSV files."""

import csv
import os
import re
from pathlib import Path

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from vlmguard.cli import main
from vlmguard.results.agreement.columns import read_columns
from vlmguard.results.stats.coefficients import compare_labels, krippendorff_alpha

# Read at import: the tests of this folder run without it.
DATA = os.environ.get("VLMGUARD_DATA", "")


def raters(
    random: np.random.Generator, size: int, each: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of a reference and of a rater who errs in one of five; `each` answers per image."""
    reference = random.random(size) < 0.3
    rater = np.where(random.random(size) < 0.2, ~reference, reference)
    return reference, rater, np.arange(size) // each


def test_kappa_and_its_interval_are_those_of_statsmodels() -> None:
    reference, rater, _ = raters(np.random.default_rng(1), 2000, 1)
    found = compare_labels(reference, rater, np.arange(2000)).kappa
    table = [[int(((reference == a) & (rater == b)).sum()) for b in (1, 0)] for a in (1, 0)]
    theirs = cohens_kappa(table)
    assert found.value == pytest.approx(theirs.kappa)
    # A jackknife over answers is close to the asymptotic interval for many answers.
    assert found.low == pytest.approx(theirs.kappa_low, abs=0.003)
    assert found.high == pytest.approx(theirs.kappa_upp, abs=0.003)


def test_answers_about_one_image_make_intervals_wider() -> None:
    reference, rater, _ = raters(np.random.default_rng(2), 300, 1)
    repeated = [np.repeat(each, 5) for each in (reference, rater, np.arange(300))]
    alone = compare_labels(*repeated[:2], np.arange(1500))
    together = compare_labels(*repeated)
    for name in ("kappa", "f1", "sensitivity", "specificity"):
        narrow, wide = getattr(alone, name), getattr(together, name)
        assert narrow.value == pytest.approx(wide.value)
        assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(5**0.5, rel=0.1)


def test_intervals_hold_what_they_say() -> None:
    random = np.random.default_rng(3)
    truth = compare_labels(*raters(random, 200_000, 1))
    held = {"kappa": 0, "f1": 0, "sensitivity": 0}
    for _ in range(200):
        found = compare_labels(*raters(random, 120, 2))
        for name in held:
            here = getattr(found, name)
            held[name] += here.low <= getattr(truth, name).value <= here.high
    assert all(0.90 <= count / 200 <= 0.995 for count in held.values()), held


def test_no_interval_claims_certainty() -> None:
    labels = np.array([True, False] * 10)
    alike = compare_labels(labels, labels, np.arange(20))
    assert alike.kappa.value == 1.0
    assert np.isnan(alike.kappa.low)
    assert alike.f1.value == 1.0
    assert 0.6 < alike.f1.low < 0.9
    few = compare_labels(labels, ~labels, np.arange(20) // 4)
    assert np.isnan([few.kappa.low, few.f1.low, few.same.low]).all()
    assert np.isnan(krippendorff_alpha([[1, 1], [0, 0]] * 10, "nominal").low)
    assert krippendorff_alpha([[1, 1], [0, 1]] * 10, "nominal").low < 1


# Columns.


@pytest.fixture
def human(tmp_path: Path) -> Path:
    path = tmp_path / "human.csv"
    rows = ["2 - unsafe", "1 - safe", "2 - unsafe", "1 - safe", ""]
    path.write_text("image,label\n" + "\n".join(f"i{n},{row}" for n, row in enumerate(rows)))
    return path


def test_the_first_word_of_a_verdict_counts(human: Path, tmp_path: Path) -> None:
    judges = tmp_path / "judges.csv"
    judges.write_text('a,b\nUnsafe.,"unsafe\nS1"\nnot unsafe,safe\n**UNSAFE**,1\n,0\nsafe,0\n')
    first, a, b = read_columns([f"{human}:label", f"{judges}:*"], ["unsafe", "1"], "image")
    assert list(first.ratings["unsafe"].values()) == [1.0, 1.0, 1.0, 1.0]  # 1 was named, too
    assert a.ratings["unsafe"] == {("0", 1): 1.0, ("1", 1): 0.0, ("2", 1): 1.0, ("4", 1): 0.0}
    assert list(b.ratings["unsafe"].values()) == [1.0, 0.0, 1.0, 0.0, 0.0]
    assert a.remark == "a: 1 blank, 1 neither safe nor unsafe by their first word, counted as safe"
    assert a.clusters["4", 1] == "i4"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,a\nsafe,safe\n", "column 'a' occurs twice"),
        ("a\nsafe,unsafe\n", "2 cells under 1"),
        ('a\nsafe\n"unsafe\n', "a quote is opened and never closed"),
        ("a\n", "it holds no rows"),
        ("a\nsafe\n", "the files differ in it"),
        ("b\n" + "safe\n" * 5, "no column 'a'. It has: b."),
    ],
)
def test_broken_columns_are_named(
    text: str, said: str, human: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "judge.csv").write_text(text)
    assert main(["agreement", f"{human}:label", f"{tmp_path / 'judge.csv'}:a"]) == 2
    assert said in capsys.readouterr().err.replace("\n", " ")


def test_columns_and_logs_are_not_mixed(
    human: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["agreement", f"{human}:label", str(tmp_path)]) == 2
    assert "columns are compared with columns" in capsys.readouterr().err
    assert main(["agreement", str(human), "--cluster", "image"]) == 2
    assert "are for columns of CSV files" in capsys.readouterr().err


# From verdicts of eight judges on 4,000 answers that people labelled (MSTS, English).
MSTS = {
    "gemini-1.5-pro": ("0.593", "0.571"),
    "claude-3-5-sonnet-20240620": ("0.523", "0.501"),
    "gpt-4o-2024-05-13": ("0.312", "0.257"),
    "Llama-3.2-90B-Vision-Instruct": ("0.301", "0.284"),
    "Llama-Guard-3-11B-Vision": ("0.298", "0.281"),
    "Qwen2-VL-72B-Instruct": ("0.290", "0.273"),
    "LlavaGuard-v1.2-7B-OV": ("0.057", "0.018"),
    "omni-moderation-latest": ("0.041", "-0.035"),
}


@pytest.mark.skipif(not DATA, reason="needs VLMGUARD_DATA")
def test_eight_judges_against_real_people(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Path(DATA) / "msts" / "data"
    people = data / "response_annotations" / "english_multimodal.csv"
    judges = data / "auto_eval" / "english_multimodal_autoeval.csv"
    if not people.exists():
        pytest.skip(f"needs {people}")
    assert next(csv.DictReader(judges.open())).keys() == MSTS.keys()
    monkeypatch.setenv("COLUMNS", "250")
    words = ["agreement", f"{people}:final_label", f"{judges}:*", "--cluster", "case_id"]
    assert main(words) == 0
    out = capsys.readouterr().out
    for judge, (f1, kappa) in MSTS.items():
        (line,) = [line for line in out.splitlines() if re.search(rf" {re.escape(judge)} ", line)]
        assert line.split()[:4] == ["unsafe", judge, "4000", "4.5"]
        assert line.split()[-3:-1] == [f1, kappa]
    assert "200 images" in out
