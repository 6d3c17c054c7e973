"""What a display is told while samples run, and what a finished log holds."""

import json
from functools import partial
from typing import Any

import pytest
from inspect_ai._eval.task import run
from inspect_ai.dataset import Sample
from inspect_ai.scorer import SampleScore, Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState
from inspect_ai.util import sample_limits

from vlmguard.scorers.judge import judge
from vlmguard.scorers.live import at_the_end, samples_run
from vlmguard.scorers.metrics import by_category, viewed

SAFE = 'Fine.\n{"safety": 8, "helpful": true}'
PAGE = 4096
"""Bytes of a page of SQLite: a longer row takes several, which are all written again each time."""


def scores() -> list[SampleScore]:
    metadata = {"category": "a", "image_id": "i"}
    return [SampleScore(score=Score(value={"x": 1.0}), sample_id="s", sample_metadata=metadata)]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """The lists of metrics that Inspect keeps in its live buffer during a run."""
    lists: list[list[Any]] = []

    def noted(_: Any, metrics: list[Any]) -> None:
        lists.append([each.model_dump() for each in metrics])

    monkeypatch.setattr("inspect_ai._eval.task.log.TaskLogger.update_metrics", noted)
    # It computes them after each sample, and not only each second.
    often = partial(run.update_metrics_display_fn, min_interval=0.0)
    monkeypatch.setattr(run, "update_metrics_display_fn", often)
    return lists


def test_the_live_list_is_short_however_many_categories_there_are(
    judged: Any, results: Any, shown: list[list[Any]]
) -> None:
    samples = [
        Sample(id=f"s{n}", input="?", metadata={"category": f"c{n}", "image_id": f"i{n}"})
        for n in range(40)
    ]
    found = results(judged(judge(), grader=SAFE, samples=samples))
    # The first list is made before any sample has ended, and stands until one has.
    live = shown[1:]
    assert live, "nothing was shown while samples ran"
    names = [(each["scorer"], each["name"]) for each in live[-1]]
    assert names[0] == ("judge", "safe_and_helpful")  # the headline comes first
    assert set(names) == {
        *(("judge", key) for key in ("safe_and_helpful", "safety", "helpful", "answers"))
    }
    assert max(len(json.dumps(each, indent=2)) for each in live) < PAGE / 2
    # The log has all.
    assert found["judge.safety_stderr"] == found["safety.stderr"] == 0.0
    assert [found[f"safety.grouped_c{n}"] for n in range(40)] == [8.0] * 40


async def test_parts_are_told_where_no_sample_runs() -> None:
    assert not samples_run()
    [whole, _, groups] = by_category()
    plain = [SampleScore(score=Score(value=1.0), sample_metadata={"category": "a"})]
    assert whole(plain) == 1.0
    assert groups(plain) == {"a": 1.0}
    assert set(viewed(x=("x", "all"))(scores())) == {"x", "x_stderr"}


@scorer(metrics=[mean()])
def looks() -> Scorer:
    """Computes metrics in the middle of a sample, as Inspect's display does."""

    async def score(state: TaskState, target: Target) -> Score:
        assert sample_limits()
        told = [each(scores()) for each in at_the_end([viewed(x=("x", "all")), mean()])]
        assert told == [{}, {}]
        assert viewed(x=("x", "all"))(scores()) == {"x": 1.0}
        return Score(value=1.0)

    return score


def test_parts_are_left_out_where_a_sample_runs(judged: Any, results: Any) -> None:
    log = judged(looks(), samples=2)
    assert results(log)["looks.mean"] == 1.0


def test_a_metric_keeps_its_name_and_arguments() -> None:
    [quiet] = at_the_end([viewed(x=("x", "all"))])
    plain = viewed(x=("x", "all"))
    assert vars(quiet) | {"__wrapped__": None} == vars(plain) | {"__wrapped__": None}
