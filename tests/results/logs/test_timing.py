"""Throughput and latency: what logs can tell about time, and what they cannot."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from inspect_ai.log import EvalLog, EvalRetryError, read_eval_log, write_eval_log
from inspect_ai.model import GenerateConfig
from support.toy import Toy, run_toy, say

from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.model import Entry, Overhead
from vlmguard.results.leaderboard.publish import write_leaderboard
from vlmguard.results.leaderboard.tables import overhead_sheet
from vlmguard.results.logs.frame import read_results
from vlmguard.results.logs.timing import LATENCY_TAG


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    log = run_toy(tmp_path_factory.mktemp("timed"), Toy(), [say(8, True)] * 6)
    return Path(log.location)


def moment(seconds: float) -> str:
    """An instant as logs write it, counted from the same minute."""
    return f"2030-01-01T00:{int(seconds // 60):02}:{seconds % 60:09.6f}+00:00"


def timed(
    source: Path,
    place: Path,
    seconds: float = 1.0,
    began: float = 60.0,
    change: Callable[[EvalLog], None] = lambda log: None,
) -> str:
    """A copy of a log in which each answer takes this time, two at a time."""
    log = read_eval_log(str(source))
    log.eval.eval_id = log.eval.task_id = place.stem
    log.stats.started_at, log.stats.completed_at = moment(began), moment(began + 3 * seconds)
    for number, sample in enumerate(log.samples or []):
        start = began + number // 2 * seconds
        sample.started_at, sample.completed_at = moment(start), moment(start + seconds)
        sample.total_time = seconds
    change(log)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_eval_log(log, str(place))
    return str(place)


def cost_of(*paths: str) -> list[Overhead]:
    return [entry.overhead for entry in build(read_results(paths)).entries]


def resumed(log: EvalLog) -> None:
    for sample in (log.samples or [])[:2]:
        sample.started_at, sample.completed_at = moment(0), moment(1)


def cached(log: EvalLog) -> None:
    log.plan.config.cache = True


def retried(log: EvalLog) -> None:
    sample = (log.samples or [])[0]
    sample.error_retries = [EvalRetryError(message="429", traceback="", traceback_ansi="")]


def untimed(log: EvalLog) -> None:
    (log.samples or [])[0].completed_at = None


@pytest.mark.parametrize(
    ("change", "rate", "gap"),
    [
        (lambda log: None, 2.0, ""),
        (resumed, None, "resumed: 2 of 6 answers are from an earlier run, so no throughput"),
        (cached, None, "run with a cache, which may have answered calls, so no throughput"),
        (retried, 2.0, "1 of 6 answers after an error and a retry"),
        (untimed, None, "the log does not say when its answers were made"),
    ],
)
def test_throughput_is_by_the_clock_or_says_why_not(
    change: Callable[[EvalLog], None],
    rate: float | None,
    gap: str,
    source: Path,
    tmp_path: Path,
) -> None:
    # Six answers, two at a time, a second each: three seconds.
    (found,) = cost_of(timed(source, tmp_path / "a.eval", change=change))
    assert found.throughput == (None if rate is None else pytest.approx(rate))
    assert found.gap == gap


def other_target(log: EvalLog) -> None:
    log.eval.model = "mockllm/other"


def test_runs_at_the_same_time_are_said_to_share_the_clock(source: Path, tmp_path: Path) -> None:
    one = timed(source, tmp_path / "one.eval")
    beside = timed(source, tmp_path / "two.eval", began=62, change=other_target)
    after = timed(source, tmp_path / "two-later.eval", began=63, change=other_target)
    assert [each.shared for each in cost_of(one, beside)] == [True, True]
    assert [each.shared for each in cost_of(one, after)] == [False, False]
    sheet = overhead_sheet(build(read_results([one, beside])))
    assert sheet.header[3:] == ["Calls ↓", "Tokens ↓", "Answers/s ↑", "Latency s ↓", "Cost ↓"]
    assert [row[5:7] for row in sheet.rows] == [["2 *", "-"], ["2 *", "-"]]
    assert any("shared the clock" in note for note in sheet.notes)


def test_runs_without_times_share_no_clock(source: Path, tmp_path: Path) -> None:
    one = timed(source, tmp_path / "one.eval")
    for change in (resumed, untimed):

        def other(log: EvalLog, change: Callable[[EvalLog], None] = change) -> None:
            other_target(log)
            change(log)

        gone_on = timed(source, tmp_path / f"{change.__name__}.eval", began=600, change=other)
        assert [each.shared for each in cost_of(one, gone_on)] == [False, False]


def latency(log: EvalLog) -> None:
    """A log as of `vlmguard run --latency`: unscored answers, one at a time."""
    log.eval.tags, log.eval.config.max_samples = [LATENCY_TAG], 1
    for number, sample in enumerate(log.samples or []):
        sample.scores, sample.total_time = None, 1.0 + number


def test_latency_comes_from_logs_of_its_own(source: Path, tmp_path: Path) -> None:
    timed(source, tmp_path / "logs" / "main.eval")
    (alone,) = build(read_results([str(tmp_path)])).entries
    timed(source, tmp_path / "logs" / "latency" / "a.eval", change=latency)
    results = read_results([str(tmp_path)])
    assert (len(results.runs), results.left_out) == (1, {})
    (entry,) = build(results).entries
    # The median of 1 to 6 seconds.
    assert (entry.overhead.latency, entry.overhead.latency_of) == (3.5, 6)
    # Between the fifth and the sixth, three quarters of the way.
    assert entry.overhead.latency_p95 == pytest.approx(5.75)
    assert scores(entry) == scores(alone)
    sheet = overhead_sheet(build(results))
    assert sheet.rows[0][5:7] == ["2", "3.5\nn 6"]
    files = write_leaderboard(build(results), tmp_path / "out")
    assert "leaderboard.html" in files
    text = (tmp_path / "out" / "leaderboard.csv").read_text()
    (first, *_) = csv.DictReader(text.splitlines())
    assert (first["throughput"], first["latency"], first["latency_of"]) == ("2.0", "3.5", "6")
    assert not {"seconds", "slowdown"} & first.keys()


def scores(entry: Entry) -> dict[str, float]:
    return {name: cell.mean for name, cell in entry.cells.items()}


def several(log: EvalLog) -> None:
    latency(log)
    log.eval.config.max_samples = 8


def batched(log: EvalLog) -> None:
    latency(log)
    log.eval.model_generate_config = GenerateConfig(batch=True)


def unfinished(log: EvalLog) -> None:
    latency(log)
    log.status = "error"


def of_another(log: EvalLog) -> None:
    latency(log)
    other_target(log)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (several, "latency, not of single uncached answers at one connection"),
        (batched, "latency, not of single uncached answers at one connection"),
        (unfinished, "latency, unfinished (status error); run it again"),
        (of_another, "latency of a run whose log is not here"),
    ],
)
def test_latencies_that_are_none_are_named_and_do_not_stop_the_gate(
    change: Callable[[EvalLog], None],
    reason: str,
    source: Path,
    gate: Callable[..., int],
    tmp_path: Path,
) -> None:
    timed(source, tmp_path / "logs" / "main.eval")
    path = timed(source, tmp_path / "logs" / "latency.eval", change=change)
    results = read_results([str(tmp_path / "logs")])
    assert results.left_out == {path: reason}
    assert build(results).entries[0].overhead.latency is None
    assert gate("logs", "--update") == 0
    assert gate("logs") == 0
