"""The report for CI, mainly of failures."""

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from inspect_ai.log import EvalLog
from support.clones import clone, template_log

from vlmguard.cli import main
from vlmguard.guard.errors import UserError
from vlmguard.results.gate.baseline import read_baseline
from vlmguard.results.gate.command import check
from vlmguard.results.gate.comparable import Limits
from vlmguard.results.gate.compare import Finding
from vlmguard.results.gate.replay import decisions
from vlmguard.results.gate.report import junit, summary, text
from vlmguard.results.logs.frame import Results

Gate = Callable[..., int]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    return template_log(tmp_path_factory.mktemp("template"), 8)


@pytest.fixture
def runs(log: EvalLog, gate: Gate, tmp_path: Path) -> None:
    """A baseline of `base`; `few` cannot be distinguished from it, `worse` can."""
    for folder, lost in (("base", 0), ("few", 1), ("worse", 8)):
        clone(
            log,
            tmp_path / folder / "a.eval",
            lambda number, lost=lost: (2.0 if number < lost else 9.0, 1.0, 0.0),  # type: ignore[misc]
            defense="vlmguard",
            change=one_image_each,
        )
    assert gate("base", "--update") == 0


def one_image_each(log: EvalLog) -> None:
    for sample in log.samples or []:
        sample.metadata = {**sample.metadata, "image_id": str(sample.id)}


def errors(path: Path) -> list[str]:
    found = ElementTree.parse(path).getroot().iter("error")
    return [each.get("message", "") for each in found]


@pytest.mark.parametrize("missing", ["logs", "baseline"])
def test_reports_are_written_where_nothing_can_be_compared(
    runs: None, gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    if missing == "baseline":
        (tmp_path / "baseline.json.gz").unlink()
    folder = "nowhere" if missing == "logs" else "base"
    assert gate(folder, "--junit", str(tmp_path / "gate.xml")) == 2
    (message,) = errors(tmp_path / "gate.xml")
    assert {"logs": "no such file", "baseline": "Write a baseline"}[missing] in message
    assert "Undecided" in (tmp_path / "summary.md").read_text()


def test_a_folder_as_the_baseline_is_not_to_be_deleted(tmp_path: Path) -> None:
    for read in (read_baseline, decisions.read_baseline):
        with pytest.raises(UserError, match="a folder; --baseline takes the file") as refused:
            read(tmp_path)
        assert "Delete" not in str(refused.value)


def fail_to_read() -> Results:
    raise RuntimeError("no credentials")


@pytest.mark.parametrize("broken", ["logs", "baseline", "place"])
def test_what_fails_is_no_loss_and_is_reported(
    runs: None,
    gate: Gate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    broken: str,
) -> None:
    baseline, report = tmp_path / "baseline.json.gz", tmp_path / "gate.xml"
    summary_file = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary_file))
    if broken == "logs":
        assert check(fail_to_read, baseline, Limits({}), False, report, summary_file) == 2
        assert "Traceback" in capsys.readouterr().err
    elif broken == "baseline":
        packed = baseline.read_bytes()
        baseline.write_bytes(packed[:40] + bytes(40) + packed[80:])
        assert gate("base", "--junit", str(report)) == 2
    else:
        words = ["gate", "nowhere://logs", "--baseline", str(baseline), "--junit", str(report)]
        assert main(words) == 2
    (message,) = errors(report)
    said = {
        "logs": "RuntimeError: no credentials",
        "baseline": "cannot be read",
        "place": "cannot be listed",
    }
    assert said[broken] in message
    assert "Undecided" in summary_file.read_text()


@pytest.mark.parametrize(("folder", "status"), [("worse", 1), ("base", 2)])
def test_a_report_that_cannot_be_written_hides_no_loss(
    runs: None,
    gate: Gate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: str,
    status: int,
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "file" / "summary.md"))
    assert gate(folder, "--junit", str(tmp_path / "file" / "gate.xml")) == status
    out = capsys.readouterr().out
    assert "the step summary cannot be written" in out
    assert "cannot be written to" in out
    assert ("WORSE: toy all" in out) == (status == 1)


def test_strict_is_an_error_in_junit_too(runs: None, gate: Gate, tmp_path: Path) -> None:
    place = tmp_path / "gate.xml"
    assert gate("few", "--junit", str(place)) == 0
    assert errors(place) == []
    assert gate("few", "--strict", "--junit", str(place)) == 2
    assert any("not proven" in message for message in errors(place))
    suite = ElementTree.parse(place).getroot()[0]
    assert suite.get("errors") == str(len(errors(place)))


def test_names_steer_neither_terminal_nor_ci() -> None:
    evil = Finding("run\x1b[2J", "safety", "worse", "lost in a\nb\x07\ud800::error::<&>")
    told = text([evil], 1)
    assert told.splitlines()[0] == "WORSE: run\ufffd[2J: lost in a b\ufffd\ufffd::error::<&>"
    assert "\x1b" not in summary([evil], 1)
    (failure,) = ElementTree.fromstring(junit([evil], False).encode()).iter("failure")
    assert failure.get("message") == "lost in a b\ufffd\ufffd::error::<&>"
