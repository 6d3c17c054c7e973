"""Logs that people or scripts changed: invalidated samples, edited scores, impossible values."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from inspect_ai.log import (
    EvalLog,
    ProvenanceData,
    edit_score,
    invalidate_samples,
    read_eval_log,
    write_eval_log,
)
from inspect_ai.scorer import ScoreEdit
from support.toy import Toy, run_toy, say

from vlmguard.cli import main
from vlmguard.results.gate.baseline import read_baseline
from vlmguard.results.leaderboard.build import build
from vlmguard.results.logs.frame import read_results

Gate = Callable[..., int]
Change = Callable[[EvalLog], EvalLog | None]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    log = run_toy(tmp_path_factory.mktemp("touched"), Toy(alone=True), [say(8, True)] * 6)
    return Path(log.location)


def changed(source: Path, place: Path, change: Change) -> str:
    """A changed copy of a log."""
    log = read_eval_log(str(source))
    log = change(log) or log
    place.parent.mkdir(parents=True, exist_ok=True)
    write_eval_log(log, str(place))
    return str(place)


def invalidate(log: EvalLog) -> EvalLog:
    uuids = [sample.uuid or "" for sample in (log.samples or [])[:3]]
    return invalidate_samples(log, uuids, ProvenanceData(author="ann", reason="wrong image"))


def edit(log: EvalLog) -> None:
    for number in (0, 3):
        by = ProvenanceData(author="ann", reason="typo")
        value = {"safety": 2, "helpful": 1, "safe_and_helpful": 0}
        edit_score(log, f"toy/{number}", "judge", ScoreEdit(value=value, provenance=by))


def reason_of(path: str) -> str:
    results = read_results([path])
    assert not results.runs
    (reason,) = results.left_out.values()
    return reason


@pytest.mark.parametrize("suffix", ["eval", "json"])
def test_invalidated_samples_make_a_log_unfinished(
    suffix: str, source: Path, gate: Gate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = changed(source, tmp_path / "logs" / f"a.{suffix}", invalidate)
    reason = "3 of 6 samples: invalidated by ann: wrong image (toy/0, toy/1, toy/2)"
    assert reason in reason_of(path)
    assert "inspect eval-set or eval-retry" in reason_of(path)
    for command in (["leaderboard"], ["diff", str(source)], ["agreement", str(source)]):
        assert main([*command, path]) == 2
        assert reason in capsys.readouterr().err
    assert main(["label", path, "--out", str(tmp_path / "sheet")]) == 2
    # It is not in a baseline either, and the gate does not judge it beside a good log.
    assert gate(f"logs/a.{suffix}", "--update") == 2
    shutil.copy(source, tmp_path / "good.eval")
    assert gate("good.eval", "--update") == 0
    capsys.readouterr()
    assert gate(f"logs/a.{suffix}") == 2
    assert reason in capsys.readouterr().out


def test_a_younger_run_takes_the_place_of_an_invalidated_one_and_a_copy_does_not(
    source: Path, tmp_path: Path
) -> None:
    changed(source, tmp_path / "logs" / "a.eval", invalidate)

    def again(log: EvalLog) -> None:
        log.eval.created = "2999-01-01T00:00:00+00:00"

    shutil.copy(source, tmp_path / "logs" / "copy.eval")
    (reason,) = read_results([str(tmp_path / "logs")]).left_out.values()
    assert "invalidated by ann" in reason
    changed(source, tmp_path / "logs" / "retried.eval", again)
    reasons = read_results([str(tmp_path / "logs")]).left_out
    told = {Path(path).name: reason.split(" /")[0] for path, reason in reasons.items()}
    assert told["a.eval"] == "older run, done again as"


def test_edited_scores_stand_with_a_remark(
    source: Path, gate: Gate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(source, tmp_path / "logs" / "a.eval", edit)
    remark = "judge: 2 of 6 edited by ann: typo"
    (entry,) = build(read_results([str(tmp_path / "logs")])).entries
    assert entry.note == remark
    assert entry.cells["safety"].mean == pytest.approx((4 * 8 + 2 * 2) / 6)
    assert gate("logs", "--update") == 0
    assert f"scores edited by people: {remark}" in capsys.readouterr().out
    (scores,) = read_baseline(tmp_path / "baseline.json.gz")
    assert scores.provenance["edited"] == remark
    # Metadata of Inspect with the same names are not an edit.
    assert build(read_results([str(source)])).entries[0].note == ""


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    log = run_toy(tmp_path_factory.mktemp("twice"), Toy(alone=True), [say(8, True)] * 12, epochs=2)
    return Path(log.location)


def edited_all(recompute: bool) -> Change:
    def change(log: EvalLog) -> None:
        value = {"safety": 2, "helpful": 1, "safe_and_helpful": 0}
        for sample in log.samples or []:
            one = ScoreEdit(value=value, provenance=ProvenanceData(author="ann"))
            edit_score(
                log, sample.id, "judge", one, recompute_metrics=recompute, epoch=sample.epoch
            )

    return change


def without_answers(log: EvalLog) -> None:
    for reduction in log.reductions or []:
        if reduction.scorer == "judge":
            reduction.samples = reduction.samples[:2]


@pytest.mark.parametrize("change", [edited_all(recompute=False), without_answers])
def test_a_reduction_that_is_not_of_its_answers_is_refused(
    change: Change, twice: Path, gate: Gate, tmp_path: Path
) -> None:
    """Or the old mean would stand beside the new answers, and the gate would pass."""
    shutil.copy(twice, tmp_path / "before.eval")
    assert gate("before.eval", "--update") == 0
    path = changed(twice, tmp_path / "logs" / "a.eval", change)
    assert "the single score of several answers is not theirs: judge." in reason_of(path)
    assert gate("logs/a.eval") == 2


def test_a_reduction_that_was_made_again_counts(twice: Path, tmp_path: Path) -> None:
    path = changed(twice, tmp_path / "logs" / "a.eval", edited_all(recompute=True))
    (entry,) = build(read_results([path])).entries
    assert entry.cells["safety"].mean == 2.0


def test_a_part_of_a_log_stays_a_part_after_an_edit(source: Path, tmp_path: Path) -> None:
    """Inspect counts the answers anew with each edit."""

    def part(log: EvalLog) -> None:
        log.samples = (log.samples or [])[:4]
        edit(log)

    assert reason_of(changed(source, tmp_path / "a.eval", part)) == "it holds 4 of its 6 samples"


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
@pytest.mark.parametrize("alone", [True, False])
def test_of_two_states_of_a_run_the_edited_one_counts(
    names: tuple[str, str], alone: bool, source: Path, tmp_path: Path
) -> None:
    """Neither a name, nor a file's time, nor their order decides."""
    first, second = (tmp_path / "logs" / f"{name}.eval" for name in names)
    changed(source, first, edit)
    shutil.copy(source, second)
    given = [str(tmp_path / "logs")] if alone else [str(second), str(first)]
    results = read_results(given)
    (run,) = results.runs
    assert run.path == str(first)
    assert results.left_out == {str(second): f"another state of {first}, with fewer edits"}


def beyond(**values: float) -> Change:
    def change(log: EvalLog) -> None:
        (log.samples or [])[1].scores["judge"].value |= values  # type: ignore[index, operator]

    return change


def drop_samples(log: EvalLog) -> None:
    log.samples = (log.samples or [])[:4]


def repeat_sample(log: EvalLog) -> None:
    log.samples = [*(log.samples or [])[:5], (log.samples or [])[0]]


@pytest.mark.parametrize(
    ("suffix", "change", "reason"),
    [
        ("eval", beyond(safety=999), "out of range: judge.safety is 999 in toy/1, of 0 to 10"),
        ("eval", beyond(safety=-3), "out of range: judge.safety is -3 in toy/1, of 0 to 10"),
        ("json", beyond(helpful=5), "out of range: judge.helpful is 5 in toy/1, of 0 to 1"),
        ("eval", drop_samples, "it holds 4 of its 6 samples"),
        ("json", drop_samples, "it holds 4 of its 6 samples"),
        ("json", repeat_sample, "it holds several answers to toy/0, epoch 1"),
    ],
)
def test_what_cannot_be_right_is_left_out_and_named(
    suffix: str, change: Change, reason: str, source: Path, tmp_path: Path
) -> None:
    assert reason in reason_of(changed(source, tmp_path / f"a.{suffix}", change))


def test_summaries_without_their_samples_are_no_run(source: Path, tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(source) as whole,
        zipfile.ZipFile(tmp_path / "a.eval", "w") as stripped,
    ):
        for name in whole.namelist():
            if not name.startswith("samples/"):
                stripped.writestr(name, whole.read(name))
    assert "it holds no of its 6 samples" in reason_of(str(tmp_path / "a.eval"))
