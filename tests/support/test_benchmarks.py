"""The page of benchmarks: what scripts leave, how it is shown, and that no script is missing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from scipy.stats import quantile_test
from support import benchmarks
from support.benchmark_page import renewed, section, sections
from support.findings import Interval, Verdict, median_interval, read_findings

SCRIPT = '''\
"""Time of ours relative to theirs.

Each side does nothing.

    python tests/bench/{name}.py
"""

import sys
sys.path.insert(0, {tests!r})
from support.pairs import show, verdict, within

show("Two sides", {{"ours": [2.0, 4.0, 3.0], "theirs": [1.0]}}, "s")
good = verdict({ratios}, 1.05, at_least=False)
good &= within("memory, MB", 12.0, 20)
sys.exit(0 if good else 1)
'''


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Scripts that keep their limits, miss one, and fail; the page is a new file."""
    tests = str(Path(__file__).resolve().parents[1])
    found = {name: tmp_path / "tests" / "bench" / f"{name}.py" for name in ("good", "slow", "bad")}
    found["good"].parent.mkdir(parents=True)
    quick, slow = [1.0, 1.02, 1.01, 0.99, 1.03, 1.04], [1.1, 1.2, 1.0, 1.15, 1.3]
    found["good"].write_text(SCRIPT.format(name="good", tests=tests, ratios=quick))
    found["slow"].write_text(SCRIPT.format(name="slow", tests=tests, ratios=slow))
    found["bad"].write_text('"""Ends at once."""\nraise SystemExit(3)\n')
    (tmp_path / "docs").mkdir()
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    identity = ["-c", "user.name=A", "-c", "user.email=a@b.org"]
    command = ["git", "-C", str(tmp_path), *identity, "commit", "-q", "--allow-empty", "-m", "One"]
    subprocess.run(command, check=True)
    monkeypatch.setattr(benchmarks, "REPO", tmp_path)
    monkeypatch.setattr(benchmarks, "PAGE", tmp_path / "docs" / "benchmarks.md")
    return found


def test_page_of_this_repository_has_a_section_for_each_script() -> None:
    known = sections(benchmarks.PAGE.read_text())
    assert list(known) == [path.stem for path in benchmarks.scripts()]


def test_run_writes_ratio_interval_limit_and_verdict(scripts: dict[str, Path]) -> None:
    assert benchmarks.main(["good"]) == 0
    page = benchmarks.PAGE.read_text()
    good = sections(page)["good"]
    assert good.startswith("Time of ours relative to theirs.\n\nEach side does nothing.\n\n|")
    assert (
        "| ratio, median of 6 pairs | 1.015 | 0.990 to 1.040 (96.9 %) | at most 1.05 | kept |"
        in good
    )
    assert "| memory, MB | 12.000 | none | at most 20 | kept |" in good
    assert "| ours | 3.00 | 2.00 to 4.00 |" in good
    assert "; Python 3." in good
    assert "inspect-ai 0." in good
    assert " with changes; " in good  # the scripts are not committed
    assert "| [good](#good) | 2 of 2 |" in page
    assert "| [slow](#slow) | not measured yet |" in page


def test_one_script_renews_its_own_section_alone(scripts: dict[str, Path]) -> None:
    assert benchmarks.main(["good"]) == 0
    before = sections(benchmarks.PAGE.read_text())
    assert benchmarks.main(["slow"]) == 1
    page = benchmarks.PAGE.read_text()
    assert sections(page)["good"] == before["good"]
    assert "at most 1.05 | **MISSED** (open: the interval holds the limit) |" in page
    assert "| [slow](#slow) | **1 of 2** |" in page
    scripts["slow"].unlink()
    assert benchmarks.main(["good"]) == 0
    assert list(sections(benchmarks.PAGE.read_text())) == ["bad", "good"]


def test_failed_script_says_so(scripts: dict[str, Path], capfd: pytest.CaptureFixture[str]) -> None:
    assert benchmarks.main(["bad"]) == 1
    page = benchmarks.PAGE.read_text()
    assert "**FAILED**: it ended with exit status 3 before it had a verdict." in page
    assert "| [bad](#bad) | **failed** |" in page
    assert "bad: failed with exit status 3" in capfd.readouterr().err


def test_end_that_the_verdicts_do_not_explain_is_a_failure(scripts: dict[str, Path]) -> None:
    kept = [Verdict("ratio", 1.0, 2.0, at_least=False)]
    assert "**FAILED**: it ended with exit status 1 although" in section(
        scripts["good"], kept, [], 1, "here"
    )
    missed = [Verdict("ratio", 3.0, 2.0, at_least=False)]
    assert "**FAILED**: it ended with exit status 0 although" in section(
        scripts["good"], missed, [], 0, "here"
    )


def test_unknown_name_is_an_error(
    scripts: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmarks.main(["god"]) == 2
    assert capsys.readouterr().err == ("god: no such benchmark. Choose of: bad, good, slow.\n")
    assert not benchmarks.PAGE.exists()


def test_script_alone_prints_its_verdict(scripts: dict[str, Path]) -> None:
    command = [sys.executable, scripts["slow"]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        "ratio, median of 5 pairs: 1.150 (93.8 % interval 1.000 to 1.300), at most 1.05: MISSED, "
        "the interval reaches beyond the limit" in done.stdout
    )
    assert "memory, MB: 12.000, at most 20: ok" in done.stdout


@pytest.mark.parametrize("count", [6, 9, 12, 17, 30])
def test_interval_of_the_median_is_the_sign_tests(count: int) -> None:
    values = [float(number * number % 37) + number / 100 for number in range(count)]
    found = median_interval(values)
    assert found is not None
    theirs = quantile_test(values, p=0.5).confidence_interval(0.95)
    assert (found.low, found.high) == (theirs.low, theirs.high)
    assert found.level >= 0.95


def test_few_values_have_their_range_at_its_own_level() -> None:
    assert median_interval([3.0, 1.0, 2.0, 5.0, 4.0]) == Interval(1.0, 5.0, 0.9375)
    assert median_interval([1.0]) is None


def test_interval_on_both_sides_of_a_limit_leaves_it_open() -> None:
    inside = Interval(0.9, 1.1, 0.95)
    assert not Verdict("ratio", 1.0, 1.05, False, 6, inside).beyond_doubt
    assert Verdict("ratio", 1.0, 1.2, False, 6, inside).beyond_doubt
    assert Verdict("ratio", 1.0, 0.8, True, 6, inside).beyond_doubt
    assert not Verdict("ratio", 1.0, 0.95, True, 6, inside).beyond_doubt


def test_findings_are_read_as_they_were_left() -> None:
    left = {"what": "r", "value": 1.0, "limit": 2.0, "at_least": True, "count": 3}
    inside = {"low": 0.5, "high": 1.5, "level": 0.75}
    [found], figures = read_findings(json.dumps({"verdict": {**left, "interval": inside}}) + "\n")
    assert (found.interval, found.kept, figures) == (Interval(0.5, 1.5, 0.75), False, [])


def test_page_is_the_same_after_nothing_new(scripts: dict[str, Path]) -> None:
    page = renewed("", {"good": "Text\n\n| a | b |"}, scripts.values())
    assert renewed(page, {}, scripts.values()) == page
