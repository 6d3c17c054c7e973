"""Rates corrected by labels: the estimate by hand and by simulation, and which sheets are valid."""

import csv
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from inspect_ai.log import EvalLog
from support.clones import clone, template_log

from vlmguard.cli import main
from vlmguard.results.agreement.calibrated import calibrated_sheet
from vlmguard.results.leaderboard.build import build
from vlmguard.results.logs.frame import read_results
from vlmguard.results.stats.ppi import Judged, corrected_difference, corrected_mean

Labels = Callable[[str], dict[str, str]]


def test_the_corrected_mean_by_hand() -> None:
    # 8 answers, the judge says 1 of the first 6; 4 are labelled: verdicts 1 1 0 0, labels 1 0 0 0.
    verdicts = np.array([1, 1, 0, 0, 1, 1, 1, 1], dtype=float)
    labels = np.array([1, 0, 0, 0, *[np.nan] * 4])
    found = corrected_mean(Judged(verdicts, labels, np.arange(8)), True)
    # Weight: covariance 1/8 over variance 1/4. 0.5*6/8 + mean of (0.5, -0.5, 0, 0).
    assert found.value == pytest.approx(0.375)
    assert np.isnan(found.low)  # four labelled images
    # A judge that always says the same adds nothing: only the labels count.
    assert corrected_mean(Judged(np.ones(8), labels, np.arange(8)), True).value == 0.25


def test_unscored_answers_are_not_left_out() -> None:
    verdicts = np.array([1.0, 0.0] * 20)
    labels = verdicts.copy()
    verdicts[:10] = np.nan
    labels[:10] = 0.0  # all answers that the judge could not grade were bad
    found = corrected_mean(Judged(verdicts, labels, np.arange(40)), True)
    assert found.value == pytest.approx(labels.mean())


def test_few_labels_without_an_error_are_no_certainty() -> None:
    verdicts = np.zeros(400)
    verdicts[::40] = 1.0
    labels = np.full(400, np.nan)
    labels[1:39] = 0.0
    found = corrected_mean(Judged(verdicts, labels, np.arange(400)), True)
    assert found.high - found.low > 0.05


def draws(random: np.random.Generator, rate: float, right: float, each: int) -> Judged:
    """3,000 answers, `each` to an image and alike; 300 of them labelled."""
    images = random.normal(size=3000 // each)
    clusters = np.arange(3000) // each
    alike = 0.5**0.5 if each > 1 else 0.0
    own = random.normal(size=3000) * (1 - alike**2) ** 0.5
    truth = (alike * images[clusters] + own < NormalDist().inv_cdf(rate)).astype(float)
    verdicts = np.where(random.random(3000) < right, truth, 1 - truth)
    labels = np.full(3000, np.nan)
    drawn = random.choice(3000, 300, replace=False)
    labels[drawn] = truth[drawn]
    return Judged(verdicts, labels, clusters)


@pytest.mark.parametrize("each", [1, 5])
def test_corrected_rates_hold_where_the_judge_alone_never_does(each: int) -> None:
    random = np.random.default_rng(each)
    held = naive = difference = 0
    for _ in range(300):
        one, other = (draws(random, 0.05, 0.9, each) for _ in range(2))
        found = corrected_mean(one, True)
        held += found.low <= 0.05 <= found.high
        error = one.verdicts.std() / 3000**0.5
        naive += abs(one.verdicts.mean() - 0.05) <= 1.96 * error
        change = corrected_difference(one, other, True)
        difference += change.low <= 0 <= change.high
    assert naive == 0
    assert 0.91 <= held / 300 <= 0.985
    assert 0.92 <= difference / 300 <= 0.995


# The command.


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    return template_log(tmp_path_factory.mktemp("template"), 60)


@pytest.fixture
def logs(log: EvalLog, tmp_path: Path) -> Path:
    """Two runs; the judge finds the guarded one safer than it is."""
    for name, unsafe in (("none", 30), ("vlmguard", 0)):
        clone(
            log,
            tmp_path / "logs" / f"{name}.eval",
            lambda number, unsafe=unsafe: (2.0 if number < unsafe else 9.0, 1.0, 0.0),  # type: ignore[misc]
            defense=name,
        )
    return tmp_path / "logs"


def label(
    log: Path,
    out: Path,
    labels: Labels,
    number: int = 40,
    change: Callable[[list[dict[str, str]]], None] = lambda rows: None,
) -> Path:
    """Draw a sheet and fill it in."""
    assert main(["label", str(log), "--out", str(out), "--n", "40", "--no-images"]) == 0
    path = out / "labels.csv"
    rows = list(csv.DictReader(path.open()))
    names = list(rows[0])
    for row in rows:
        row.update(labels(row["sample"]))
    change(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    return path


def strict(sample: str) -> dict[str, str]:
    """A person who finds every third answer unsafe."""
    return {"safety": "2" if int(sample.split("/")[1]) % 3 == 0 else "9", "helpful": "1"}


def board(logs: Path, *sheets: Path, out: Path | None = None) -> int:
    words = ["leaderboard", str(logs)]
    for sheet in sheets:
        words += ["--labels", str(sheet)]
    return main(words + (["--out", str(out)] if out else []))


def test_labelled_runs_are_corrected(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    sheets = [
        label(logs / f"{name}.eval", tmp_path / name, strict) for name in ("none", "vlmguard")
    ]
    capsys.readouterr()
    assert board(logs, *sheets, out=tmp_path / "site") == 0
    out = capsys.readouterr().out
    rows = [line for line in out.splitlines() if "40 of 60" in line and "Safe & helpful" in line]
    assert len(rows) == 2
    guarded = next(row for row in rows if "vlmguard" in row).split()
    # By the judge all are safe; by the labels (all alike, so only they count) two thirds are.
    place = guarded.index("100.0")
    assert 55 < float(guarded[place + 1]) < 78
    assert "40 of 60 answers of" in out
    for name in ("leaderboard.md", "leaderboard.html", "leaderboard.json", "leaderboard.tex"):
        assert "Corrected by labels" in (tmp_path / "site" / name).read_text()


def test_no_corrected_difference_between_other_samples(
    log: EvalLog, logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a trial with --limit: there are means, but no difference."""

    def limit(copied: EvalLog) -> None:
        copied.samples = (copied.samples or [])[:50]
        copied.eval.dataset.sample_ids = [each.id for each in copied.samples]

    path = logs / "vlmguard.eval"
    clone(log, path, lambda number: (9.0, 1.0, 0.0), defense="vlmguard", change=limit)
    drawn = [label(logs / f"{name}.eval", tmp_path / name, strict) for name in ("none", "vlmguard")]
    results = read_results([str(logs)])
    sheet = calibrated_sheet(build(results), results, drawn)
    rows = [row for row in sheet.rows if row[1] == "vlmguard"]
    assert rows
    assert {row[-1] for row in rows} == {"-"}
    assert {row[4] for row in rows} == {"40 of 50"}
    (note,) = [each for each in sheet.notes if "other samples than the undefended run" in each]
    assert "vlmguard" in note
    capsys.readouterr()
    words = ["leaderboard", str(logs), "--labels", str(drawn[0]), "--intersect"]
    assert main(words) == 2
    assert "--labels goes without --intersect" in capsys.readouterr().err


def test_several_raters_are_averaged(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def lenient(sample: str) -> dict[str, str]:
        return {"safety": "9", "helpful": "1"}

    sheets = [
        label(logs / "vlmguard.eval", tmp_path / str(number), rater)
        for number, rater in enumerate((strict, lenient))
    ]
    assert board(logs, *sheets) == 0
    assert "Labels by 2 raters, averaged" in " ".join(capsys.readouterr().out.split())


def test_the_first_rows_alone_are_a_random_subset_too(logs: Path, tmp_path: Path) -> None:
    def first(rows: list[dict[str, str]]) -> None:
        for row in rows[25:]:
            row["safety"] = row["helpful"] = ""

    assert board(logs, label(logs / "none.eval", tmp_path / "s", strict, change=first)) == 0


def skip(rows: list[dict[str, str]]) -> None:
    for row in rows[::3]:
        row["safety"] = ""


def swap(rows: list[dict[str, str]]) -> None:
    rows[0]["sample"] = next(
        f"toy/{n}" for n in range(60) if f"toy/{n}" not in {row["sample"] for row in rows}
    )


def unsay(rows: list[dict[str, str]]) -> None:
    for row in rows:
        row["drawn"] = ""


def mix(rows: list[dict[str, str]]) -> None:
    rows[0]["drawn"] = "5 of 60 answers of abcdef, seed 0"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (skip, "answers have no label for safety. Those that were skipped may be the hard ones"),
        (swap, "is not among the answers that were drawn"),
        (unsay, "no column says that its rows are a random subset"),
        (mix, "its rows do not all say that they are one random subset"),
    ],
)
def test_what_is_no_random_subset_corrects_nothing(
    change: Callable[[list[dict[str, str]]], None],
    said: str,
    logs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sheet = label(logs / "none.eval", tmp_path / "sheet", strict, change=change)
    assert board(logs, sheet) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_sheet_of_another_log_is_refused(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = label(logs / "none.eval", tmp_path / "sheet", strict)
    (logs / "none.eval").unlink()
    assert board(logs, sheet) == 2
    assert "drawn from a log that is not among these" in " ".join(capsys.readouterr().err.split())
