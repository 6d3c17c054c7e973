"""A run in a bucket, killed and resumed, and every command that reads its logs from there."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from inspect_ai.log import list_eval_logs, read_eval_log
from support.counting_api import counting_api
from support.object_store import object_store, store
from support.siuo_folder import write_siuo

from vlmguard.cli import main

SAMPLES = 6
LOGS = "s3://logs/folder"
REWRITE = "<reasoning>Paint.</reasoning><prompt>May I paint this room?</prompt>"
VERDICT = '{"safety": 9, "helpful": true}'
# With one connection, the call that kills is the first of the third sample.
KILLED = f"""
import os, signal, sys
from support.counting_api import counting_api
from vlmguard.cli import main
from vlmguard.results.run import object_lock

def answer(*_):
    if len(answers) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return {REWRITE!r}

object_lock._LASTS = 3.0
answers = counting_api("answers", answer)
grades = counting_api("grades", {VERDICT!r})
main(sys.argv[1:])
"""
ANSWERS = counting_api("answers", REWRITE)
GRADES = counting_api("grades", VERDICT)


@dataclass(frozen=True)
class Bucket:
    """A finished run in a bucket.

    Attributes:
        folder: For files of this machine.
        config: Its configuration.
        said: What the resumed run said.
    """

    folder: Path
    config: str
    said: str

    def log(self, defense: str) -> str:
        """The finished log of a defense; the killed run left another."""
        infos = list_eval_logs(f"{LOGS}/{defense}")
        logs = [read_eval_log(info, header_only=True) for info in infos]
        (finished,) = [log for log in logs if log.status == "success"]
        return finished.location


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory, repo: Path) -> Iterator[Bucket]:
    folder = tmp_path_factory.mktemp("bucket")
    data = write_siuo(folder / "siuo", SAMPLES)
    matrix = {
        "log_dir": LOGS,
        "targets": [{"model": "answers/target"}],
        "roles": {"rewriter": {"model": "answers/rewriter"}, "grader": {"model": "grades/grader"}},
        "benchmarks": [{"name": "siuo", "args": {"data_dir": str(data), "judge": "general"}}],
        "defenses": [{"name": "none"}, {"name": "vlmguard"}],
        "options": {"display": "none", "max_samples": 1, "temperature": 0.0},
    }
    config = folder / "matrix.yaml"
    config.write_text(yaml.safe_dump(matrix))
    with pytest.MonkeyPatch.context() as monkeypatch, object_store(monkeypatch) as environment:
        words = [sys.executable, "-c", KILLED, "run", "--config", str(config)]
        killed = subprocess.run(
            words,
            env={**os.environ, **environment, "PYTHONPATH": str(repo / "tests")},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        resumed = resume(config)
        yield Bucket(folder, str(config), resumed)


def resume(config: Path) -> str:
    """Go on, and return what was said on standard error."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        said: list[str] = []
        monkeypatch.setattr(sys.stderr, "write", said.append)
        assert main(["run", "--config", str(config)]) == 0
    return "".join(said)


def test_a_killed_run_goes_on_and_takes_over_its_lock(bucket: Bucket) -> None:
    assert re.search(r"process \d+ on .* has not renewed its lock", bucket.said)
    assert "vlmguard leaderboard s3://logs/folder" in bucket.said
    # Two samples were finished and are not paid for again.
    assert len(GRADES) == 2 * SAMPLES - 2
    for defense in ("none", "vlmguard"):
        log = read_eval_log(bucket.log(defense))
        assert log.status == "success"
        assert {str(sample.id) for sample in log.samples or []} == {
            f"siuo/{1000 + number}" for number in range(SAMPLES)
        }
        assert store().exists(f"logs/folder/{defense}/.vlmguard.lock")


def test_the_same_command_again_does_nothing(bucket: Bucket) -> None:
    before = len(ANSWERS), len(GRADES)
    assert main(["run", "--config", bucket.config, "--defense", "none"]) == 0
    assert (len(ANSWERS), len(GRADES)) == before


def test_the_leaderboard_has_rows_links_and_sample_pages(
    bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    board = bucket.folder / "board"
    assert main(["leaderboard", LOGS, "--out", str(board), "--samples"]) == 0
    shown = capsys.readouterr()
    assert "vlmguard" in shown.out
    page = (board / "leaderboard.html").read_text()
    for defense in ("none", "vlmguard"):
        assert bucket.log(defense) in page
    assert list((board / "samples").rglob("*.html"))


def test_the_gate_compares_with_its_baseline(
    bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline = ["--baseline", str(bucket.folder / "baseline.json.gz")]
    assert main(["gate", LOGS, *baseline, "--update"]) == 0
    capsys.readouterr()
    assert main(["gate", LOGS, *baseline]) == 0


def test_two_folders_and_two_logs_are_compared(
    bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    page = bucket.folder / "flips.html"
    words = [f"{LOGS}/none", bucket.log("vlmguard"), "--html", str(page)]
    assert main(["diff", *words]) == 0
    assert f"of {SAMPLES} shared answers flipped" in capsys.readouterr().out
    assert page.exists()


def test_answers_are_labelled_and_judge_and_labels_agree(bucket: Bucket) -> None:
    log = bucket.log("none")
    assert main(["label", log, "--out", str(bucket.folder / "sheet")]) == 0
    labels = bucket.folder / "sheet" / "labels.csv"
    labels.write_text(labels.read_text().replace('"","",""', '"9","1","0"'))
    assert main(["agreement", log, str(labels)]) == 0
