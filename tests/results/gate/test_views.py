"""A gate and a diff look at a benchmark's views of its benign and risky samples."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.mixed import register_zoo, run_zoo

from vlmguard.cli import main
from vlmguard.results.logs.frame import read_results


def test_over_refusal_that_a_mean_hides_is_a_loss(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gate: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    register_zoo(monkeypatch)
    # Of 40 risky (0 to 39) and 40 benign requests: 20 wrong answers each time, but once all of them
    # are risky requests that were answered, and once benign ones that were refused.
    before = {*range(20, 40)}
    after = {*range(40), *range(40, 60)}
    run_zoo(tmp_path / "old", 80, 40, before)
    new = run_zoo(tmp_path / "new", 80, 40, after)
    assert gate("old", "--update") == 0
    (run,) = read_results([new.location]).runs
    assert run.samples()["zoo_judge.wrong"].mean() == 0.25
    capsys.readouterr()
    assert gate("old") == 0
    assert gate("new") == 1
    said = capsys.readouterr().out
    assert "Needless %: loss of 50.0 on 40 samples" in said
    assert "Wrong %: gain of +0.0 on 80 samples" in said


def test_a_view_that_is_no_longer_measured_cannot_be_compared(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gate: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    register_zoo(monkeypatch)
    run_zoo(tmp_path / "old", 24, 12, {0})
    run_zoo(tmp_path / "new", 24, 0, {0})
    assert gate("old", "--update") == 0
    capsys.readouterr()
    assert gate("new") == 2
    assert "zoo_judge.needless is in the baseline and was not measured" in capsys.readouterr().out


def test_a_diff_shows_the_change_of_each_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    register_zoo(monkeypatch)
    monkeypatch.setenv("COLUMNS", "200")
    one = run_zoo(tmp_path / "one", 24, 12, set())
    two = run_zoo(tmp_path / "two", 24, 12, {*range(12), 12, 13, 14})
    assert main(["diff", one.location, two.location]) == 0
    lines = capsys.readouterr().out.splitlines()
    (needless,) = [line for line in lines if "Needless %" in line]
    assert all(number in needless for number in ("0.0", "25.0", "+25.0"))
    (missed,) = [line for line in lines if "Missed %" in line]
    assert all(number in missed for number in ("100.0", "-100.0"))
