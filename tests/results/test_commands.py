"""`vlmguard leaderboard` as a command: files, bad input, exit status."""

import contextlib
import json
import os
from pathlib import Path

import pytest
from inspect_ai.log import read_eval_log, write_eval_log

from vlmguard.cli import main
from vlmguard.guard.errors import UserError
from vlmguard.results.commands.shared import log_place
from vlmguard.results.formats import writing
from vlmguard.results.formats.writing import write_files
from vlmguard.results.leaderboard.build import build
from vlmguard.results.logs.frame import read_results
from vlmguard.results.logs.verify import verify_sheet


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")


def test_out_holds_every_format(
    matrix: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "logs" / "broken.eval"
    broken.parent.mkdir()
    broken.write_bytes(b"PK")
    out = ["--out", str(tmp_path / "site"), "--intervals"]
    assert main(["leaderboard", str(matrix), str(broken), *out]) == 0
    names = {path.name for path in (tmp_path / "site").iterdir()}
    assert {f"leaderboard.{form}" for form in ("md", "tex", "csv", "json", "html")} <= names
    assert {"frontier.svg", "gains.png", "categories.pdf", "cost.svg"} <= names
    assert "broken.eval" in capsys.readouterr().out
    assert "corrupt or truncated" in (tmp_path / "site" / "leaderboard.md").read_text()
    content = json.loads((tmp_path / "site" / "leaderboard.json").read_text())
    assert len(content["entries"]) == 6
    assert r"{\scriptsize [+" in (tmp_path / "site" / "leaderboard.tex").read_text()
    (first, *_) = (tmp_path / "site" / "leaderboard.md").read_text().split("\n- ")
    assert "<br>\\[+" in first


def test_an_option_for_files_alone_is_not_ignored_without_them(
    matrix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["leaderboard", str(matrix), "--intervals"]) == 2
    assert "--intervals goes with --out DIR" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--layout", "paper"], ["--verify"], ["--published"]])
def test_options(matrix: Path, option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaderboard", str(matrix), *option]) == 0
    expected = {"--layout": "Main table", "--verify": "0 of 6", "--published": "Large hard"}
    assert expected[option[0]] in capsys.readouterr().out


def test_urls_of_logs_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert log_place("s3://bucket/logs/a.eval") == "s3://bucket/logs/a.eval"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs").mkdir()
    assert log_place("logs") == str(tmp_path / "logs")


def test_nothing_usable_is_status_2_with_reasons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["leaderboard", str(tmp_path)]) == 2
    assert "No Inspect logs" in capsys.readouterr().err
    (tmp_path / "cut.eval").write_bytes(b"PK")
    assert main(["leaderboard", str(tmp_path)]) == 2
    assert "none of 1 logs can be used" in capsys.readouterr().err


def test_installed_and_path_runs_are_the_same_thing(matrix: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted(matrix.rglob("*.eval"))):
        log = read_eval_log(str(path))
        if log.eval.task != "toy":
            continue
        if log.eval.solver:
            log.eval.task, log.eval.solver = "vlmguard/toy", "solvers/vlmguard.py@vlmguard"
        write_eval_log(log, str(tmp_path / f"{number}.eval"))
    assert main(["leaderboard", str(tmp_path), "--out", str(tmp_path / "site")]) == 0
    content = json.loads((tmp_path / "site" / "leaderboard.json").read_text())
    assert len(content["groups"]) == 1
    assert sum(entry["defense"] == "vlmguard" for entry in content["entries"]) == 2


def test_unwritable_output_changes_nothing(
    matrix: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "site"
    (site / "leaderboard.html").mkdir(parents=True)  # in the way
    (site / "leaderboard.md").write_text("old")
    assert main(["leaderboard", str(matrix), "--out", str(site)]) == 2
    assert "Nothing was overwritten" in capsys.readouterr().err
    assert (site / "leaderboard.md").read_text() == "old"
    assert sorted(path.name for path in site.iterdir()) == ["leaderboard.html", "leaderboard.md"]
    (tmp_path / "file").write_text("")
    assert main(["leaderboard", str(matrix), "--out", str(tmp_path / "file" / "x")]) == 2


def test_a_full_disk_leaves_the_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("old")

    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(writing.os, "fdopen", full)
    with pytest.raises(UserError, match="No space left"):
        write_files(tmp_path, {"a": b"new", "b": b"new"})
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_what_was_overwritten_before_a_failure_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def fails_late(source: str, target: Path) -> None:
        if target.name == "c":
            raise OSError("Input/output error")
        replace(source, target)

    monkeypatch.setattr(writing.os, "replace", fails_late)
    with pytest.raises(UserError, match="Only a, b of 3 files was overwritten"):
        write_files(tmp_path, dict.fromkeys("abc", b"new"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_verify_counts_only_what_was_tallied(
    matrix: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [path for path in sorted(matrix.rglob("*.eval")) if "guard" in str(path.parent)]
    logs = [log for path in paths if (log := read_eval_log(str(path))).eval.task == "toy"]
    for number, log in enumerate(logs):
        # The first log has no tallies; in the second, one answer has none and one tally is wrong.
        for place, sample in enumerate(log.samples or []):
            for score in (sample.scores or {}).values():
                metadata = score.metadata or {}
                if number == 0 or place == 0:
                    del metadata["defense"]
                elif place == 1:
                    metadata["defense"] = {**metadata["defense"], "calls": 5}
        write_eval_log(log, str(tmp_path / f"{number}.eval"))
    results = read_results([str(tmp_path)])
    sheet = verify_sheet(results)
    by_target = {row[0]: row for row in sheet.rows}
    # Six answers, each with a call of the guard and one of the target, of 15 tokens each; where
    # the guard fails (alpha's question 1) it is asked once more.
    assert by_target[logs[0].eval.model][3:] == ["-", "13", "-", "195", "0 of 0"]
    assert by_target[logs[1].eval.model][3:] == ["13", "12", "150", "180", "1 of 5"]
    assert sheet.notes[1:] == [
        f"{logs[1].eval.model}, vlmguard, Toy all: 1 of 6 answers without a tally."
    ]
    # The leaderboard shows the mean of the others, and their number.
    (entry,) = [e for e in build(results).entries if e.run.target == logs[1].eval.model]
    assert entry.overhead.calls == pytest.approx(13 / 5)
    assert entry.overhead.gap == "1 of 6 answers without a tally"


def test_verify_reads_what_the_leaderboard_reads(matrix: Path, tmp_path: Path) -> None:
    """Another scorer's `defense` metadata are not a tally."""
    path = next(iter(sorted((matrix / "guard").glob("*.eval"))))
    log = read_eval_log(str(path))
    for sample in log.samples or []:
        for score in (sample.scores or {}).values():
            score.metadata = {**(score.metadata or {}), "defense": {"calls": 1}}
    write_eval_log(log, str(tmp_path / "a.eval"))
    results = read_results([str(tmp_path)])
    assert build(results).entries[0].overhead.calls is None
    assert verify_sheet(results).rows[0][-1] == "0 of 0"


def test_what_a_provider_does_not_report_is_said(matrix: Path, tmp_path: Path) -> None:
    path = next(iter(sorted((matrix / "guard").glob("*.eval"))))
    log = read_eval_log(str(path))
    for score in ((log.samples or [])[0].scores or {}).values():
        tally = (score.metadata or {})["defense"]
        score.metadata = {**(score.metadata or {}), "defense": {**tally, "output_tokens": None}}
    write_eval_log(log, str(tmp_path / "a.eval"))
    (entry,) = build(read_results([str(tmp_path)])).entries
    size = len(log.samples or [])
    # Two calls an answer, and one more of the guard, which was asked again.
    assert (entry.overhead.calls, entry.overhead.tokens) == (pytest.approx(13 / 6), None)
    assert entry.overhead.gap == f"no tokens reported for 1 of {size} answers"


@pytest.mark.parametrize("limit", ["0", "-1"])
def test_a_limit_is_at_least_one(limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "--target", "mockllm/model", "--benchmark", "microworld", "--dry-run"]
    assert main([*words, "--limit", limit]) == 2
    assert f"--limit={limit}: a number of at least 1" in capsys.readouterr().err


def test_files_are_written_also_if_nobody_reads_to_the_end(
    matrix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("vlmguard.results.formats.console.print_sheets", stop)
    with contextlib.suppress(BrokenPipeError):
        main(["leaderboard", str(matrix), "--out", str(tmp_path / "site")])
    assert (tmp_path / "site" / "leaderboard.html").is_file()
