"""Samples with another answer than the scored one are found, named and done again."""

from pathlib import Path

import pytest
from inspect_ai import score
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from support.toy import Toy, run_toy, say

from vlmguard.cli import main
from vlmguard.guard.record import answer_digest
from vlmguard.results.logs.frame import read_results
from vlmguard.results.logs.unfinished import ANOTHER_ANSWER, set_aside
from vlmguard.scorers import refusal


def exchanged(log: EvalLog, number: int, at: str = "2020-01-01T00:00:00+00:00") -> Path:
    """A log as Inspect writes it after a kill: one answer is another output of its sample."""
    whole = read_eval_log(log.location)
    assert whole.samples
    sample = whole.samples[number]
    sample.output.completion = "No"
    sample.completed_at = at
    path = Path(log.location.removeprefix("file://"))
    write_eval_log(whole, str(path))
    return path


def answers(*grades: float) -> list[str]:
    return [say(grade, True) for grade in grades]


@pytest.mark.parametrize("suffix", ["eval", "json"])
def test_another_answer_than_the_scored_one_is_left_out_and_named(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = tmp_path / "logs"
    path = exchanged(run_toy(logs, Toy(), answers(9, 9, 9, 9, 9, 9)), 2)
    if suffix == "json":
        write_eval_log(read_eval_log(str(path)), str(path.with_suffix(".json")))
        path.unlink()
    (reason,) = read_results([str(logs)]).left_out.values()
    assert reason.startswith(f"unfinished: 1 of 6 samples: {ANOTHER_ANSWER} (toy/2); ")
    baseline = tmp_path / "baseline.json"
    assert main(["gate", str(logs), "--baseline", str(baseline), "--update"]) == 2
    assert "toy/2" in capsys.readouterr().err
    assert not baseline.exists()


def test_only_those_samples_are_done_again(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    path = exchanged(run_toy(logs, Toy(), answers(9, 9, 9, 9, 9, 9)), 2)
    assert set_aside(str(path)) == {("toy/2", 1): ANOTHER_ANSWER}
    marked = read_eval_log(str(path))
    assert marked.invalidated
    assert marked.samples
    assert [sample.id for sample in marked.samples if sample.invalidation] == ["toy/2"]
    assert set_aside(str(path))  # Reported again until it is done.


def test_judging_again_an_undisturbed_log_matches(tmp_path: Path) -> None:
    # Half a surrogate pair cannot be written unchanged.
    log = run_toy(tmp_path, Toy(), "Here it is.\ud800 \x00 [safety 9, helpful true]")
    again = score(read_eval_log(log.location), refusal(), action="append", display="none")
    assert again.samples
    for sample in again.samples:
        sample.completed_at = "2020-01-01T00:00:00+00:00"  # else no sample would be compared
    write_eval_log(again, log.location)
    results = read_results([str(tmp_path)])
    assert results.left_out == {}
    assert len(results.runs) == 2


def test_a_digest_is_that_of_the_log() -> None:
    assert answer_digest("a\ud800b") == answer_digest("a\\ud800b")
    assert answer_digest("yes") != answer_digest("yes ")
