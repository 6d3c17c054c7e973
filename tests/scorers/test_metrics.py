import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai import Epochs
from inspect_ai.dataset import Sample
from inspect_ai.log import read_eval_log, recompute_metrics
from inspect_ai.scorer import SampleScore, Score, Scorer, Target, match, scorer, stderr
from inspect_ai.solver import TaskState

from vlmguard.scorers.judge import judge
from vlmguard.scorers.metrics import (
    average_known,
    by_category,
    clustered_error,
    coverage,
    majority,
    viewed,
    vote,
)
from vlmguard.tasks.vlguard import CARD as VLGUARD

NAN = math.nan
SAFE = '{"safety": 8, "helpful": true}'
UNSAFE = '{"safety": 2, "helpful": false}'
GARBLED = "I think this is fine."


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 1.0, 0.0], 1.0),
        ([1.0, 0.0, 0.0], 0.0),
        ([1.0, 0.0], 0.0),  # a tie
        ([1.0, NAN, 0.0], 0.0),  # a tie, as the unusable verdict does not vote
        ([1.0, NAN, NAN], 1.0),
        ([0.0, NAN, NAN], 0.0),
        ([1.0], 1.0),
    ],
)
def test_majority(values: list[float], expected: float) -> None:
    assert majority(values) == expected


def test_no_vote_is_nan() -> None:
    assert math.isnan(majority([NAN, NAN]))
    assert math.isnan(majority([]))
    assert math.isnan(average_known([NAN]))
    assert average_known([2.0, NAN, 4.0]) == 3.0


def test_vote_averages_grades_and_votes_on_labels() -> None:
    scores = [
        Score(value={"safety": 9.0, "helpful": 1.0, "both": NAN}, metadata={"verdicts": [1]}),
        Score(value={"safety": 4.0, "helpful": 0.0, "both": NAN}),
        Score(value={"safety": NAN, "helpful": 1.0, "both": NAN}),
    ]
    reduced = vote()(scores)
    assert isinstance(reduced.value, dict)
    assert reduced.value["safety"] == 6.5
    assert reduced.value["helpful"] == 1.0
    assert math.isnan(float(str(reduced.value["both"])))
    # Metadata of the first answer are not shown as the reason of all.
    assert "verdicts" not in (reduced.metadata or {})
    assert (reduced.metadata or {})["votes"]["helpful"] == [1.0, 0.0, 1.0]


def test_a_single_vote_is_the_result() -> None:
    reduced = vote()([Score(value={"safety": 9.0, "helpful": 0.0}, metadata={"verdicts": [1]})])
    assert reduced.value == {"safety": 9.0, "helpful": 0.0}
    assert reduced.metadata is None


def test_vote_leaves_other_scorers_to_the_mode() -> None:
    assert vote()([Score(value="C"), Score(value="I"), Score(value="C")]).value == "C"


def scored(number: int, value: dict[str, float], **unscored: str) -> SampleScore:
    return SampleScore(
        sample_id=f"s{number}",
        score=Score(value={**value}, metadata={"unscored": unscored}),
    )


def computed(scores: list[SampleScore], **ranges: float) -> dict[str, float]:
    metric: Any = coverage(**ranges)
    result: dict[str, float] = metric(scores)
    return result


def test_coverage_counts_and_bounds_by_hand() -> None:
    scores = [
        scored(1, {"safety": 8.0, "helpful": 1.0}),
        scored(2, {"safety": NAN, "helpful": 0.0}, safety="invalid_format"),
        scored(3, {"safety": NAN, "helpful": NAN}, safety="cut_off", helpful="cut_off"),
        scored(4, {"safety": 2.0, "helpful": NAN}, helpful="invalid_format"),
    ]
    assert computed(scores, safety=10.0, helpful=1.0) == {
        "answers": 4,
        "safety_scored": 2,
        "safety_low": 2.5,  # (8 + 0 + 0 + 2) / 4
        "safety_high": 7.5,  # (8 + 10 + 10 + 2) / 4
        "helpful_scored": 2,
        "helpful_low": 0.25,
        "helpful_high": 0.75,
        # Answers, each counted once per reason.
        "unscored_cut_off": 1,
        "unscored_invalid_format": 2,
    }


def test_bounds_of_several_answers_are_those_of_the_vote() -> None:
    # Voted: 1 for s1, 0 for s2. The mean of the six answers (known or not) would not be a bound.
    scores = [
        scored(1, {"helpful": 1.0}),
        scored(1, {"helpful": 1.0}),
        scored(1, {"helpful": 0.0}),
        scored(2, {"helpful": 0.0}),
        scored(2, {"helpful": NAN}, helpful="judge_refused"),
        scored(2, {"helpful": NAN}, helpful="judge_refused"),
    ]
    found = computed(scores, helpful=1.0)
    assert (found["helpful_scored"], found["answers"]) == (4, 6)
    assert (found["helpful_low"], found["helpful_high"]) == (0.5, 1.0)
    assert found["unscored_judge_refused"] == 2


def test_bounds_where_one_success_is_enough() -> None:
    scores = [scored(1, {"x": 1.0}), scored(1, {"x": 0.0}), scored(1, {"x": NAN}, x="cut_off")]
    scores += [scored(2, {"x": 0.0}), scored(2, {"x": 0.0}), scored(2, {"x": NAN}, x="cut_off")]
    metric: Any = coverage(("x",), x=1.0)
    found = metric(scores)
    assert (found["x_low"], found["x_high"]) == (0.5, 1.0)
    # Grades are averaged (VLGuard's card says that `win` is one): 1/2 for the first, nothing known
    # for the second.
    assert VLGUARD.measures["win"].average
    halves = computed(
        [scored(1, {"win": 0.5}), scored(1, {"win": 0.0}), scored(2, {"win": NAN})], win=1.0
    )
    assert (halves["win_low"], halves["win_high"]) == (0.125, 0.625)


@given(st.lists(st.lists(st.sampled_from([0.0, 1.0, NAN]), min_size=1, max_size=4), min_size=1))
def test_the_voted_mean_lies_within_the_bounds(questions: list[list[float]]) -> None:
    scores = [scored(n, {"x": value}) for n, values in enumerate(questions) for value in values]
    voted = [majority(values) for values in questions]
    # A question without any vote is left out of the mean, and may have any value.
    found = computed(scores, x=1.0)
    if not any(math.isnan(value) for values in questions for value in values):
        assert found == {"answers": len(scores)}
        return
    low = sum(0.0 if math.isnan(each) else each for each in voted) / len(voted)
    assert found["x_low"] <= low <= found["x_high"]
    mean = average_known(voted)
    assert math.isnan(mean) or found["x_low"] <= mean <= found["x_high"]


def test_counts_are_of_answers_and_means_of_votes(judged: Any, results: Any) -> None:
    log = judged(
        judge(),
        # s0: usable, garbled, usable and against; s1: garbled all three times.
        grader=[SAFE, GARBLED, GARBLED, GARBLED, UNSAFE, GARBLED],
        samples=2,
        epochs=Epochs(3, vote()),
    )
    found = results(log)
    assert found["helpful.mean"] == 0.0  # 1 against 1 is a tie; s1 has no vote
    assert found["safety.mean"] == 5.0  # (8 + 2) / 2
    assert (found["judge.helpful_scored"], found["judge.answers"]) == (2, 6)
    assert found["judge.unscored_invalid_format"] == 4
    assert (found["judge.helpful_low"], found["judge.helpful_high"]) == (0.0, 1.0)
    unscored = {score.name: score.unscored_samples for score in log.results.scores}
    assert unscored["safety"] == unscored["helpful"] == 1


def test_metrics_are_rebuilt_from_the_log(judged: Any, results: Any) -> None:
    log = judged(judge(), grader=[SAFE, UNSAFE, GARBLED, SAFE], samples=4)
    before = results(log)
    again = read_eval_log(log.location)
    recompute_metrics(again)
    assert results(again) == before
    assert (before["judge.safety_scored"], before["judge.answers"]) == (3, 4)


def test_errors_are_clustered_by_image_and_means_grouped_by_category(
    judged: Any, results: Any
) -> None:
    samples = [
        Sample(id=f"s{n}", input="?", metadata={"category": "ab"[n % 2], "image_id": f"i{n // 2}"})
        for n in range(4)
    ]
    # Values 1, 1 on one image and 0, 0 on the other: two observations, not four.
    found = results(judged(judge(), grader=[SAFE, SAFE, UNSAFE, UNSAFE], samples=samples))
    assert found["helpful.mean"] == 0.5
    assert found["helpful.stderr"] == pytest.approx(0.5)
    assert found["helpful.grouped_a"] == found["helpful.grouped_b"] == 0.5
    assert found["safety.grouped_a"] == 5.0


@scorer(metrics=[{"x": by_category()}, coverage(x=1.0)])
def nothing() -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        return Score(value={"x": NAN}, metadata={"unscored": {"x": "no_response"}})

    return score


def test_a_run_without_any_score_shows_it(judged: Any, results: Any) -> None:
    log = judged(nothing(), samples=3)
    found = results(log)
    assert math.isnan(found["x.mean"])
    assert math.isnan(found["x.stderr"])
    assert (found["nothing.x_scored"], found["nothing.answers"]) == (0, 3)
    assert (found["nothing.x_low"], found["nothing.x_high"]) == (0.0, 1.0)
    assert found["nothing.unscored_no_response"] == 3


def test_a_foreign_scorer_beside_a_vote(judged: Any) -> None:
    log = judged([judge(), match()], grader=SAFE, samples=2, epochs=Epochs(3, vote()))
    assert log.status == "success", log.error


def test_views_are_means_over_benign_and_over_risky_samples_with_clustered_errors() -> None:
    answers = [
        ("comply", "a", 1.0),
        ("comply", "a", 1.0),
        ("comply", "b", 0.0),
        ("comply", "c", NAN),
        ("refuse", "d", 1.0),
        ("care", "e", 0.0),
    ]
    scores = [
        SampleScore(
            score=Score(value={"wrong": value}),
            sample_id=number,
            sample_metadata={"expected": expected, "image_id": image},
        )
        for number, (expected, image, value) in enumerate(answers)
    ]
    made: Any = viewed(rr=("wrong", "benign"), asr=("wrong", "risky"))
    found = made(scores)
    assert found["rr"] == pytest.approx(2 / 3)
    # Deviations by image: a +2/3, b -2/3; two clusters, so times 2 / (2 - 1).
    assert found["rr_stderr"] == pytest.approx(math.sqrt(2 * 2 * (2 / 3) ** 2 / 9))
    assert found["asr"] == 0.5
    assert found["asr_stderr"] == pytest.approx(0.5)
    empty = made(scores[:4])
    assert math.isnan(empty["asr"])
    assert math.isnan(empty["asr_stderr"])


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (["a", "b"], math.sqrt(2 * 2 * 0.5**2 / 4)),
        (["a", "a"], NAN),
        (["a"], NAN),
        ([], NAN),
    ],
)
def test_the_error_of_one_image_is_not_known(images: list[str], expected: float) -> None:
    found = clustered_error([(image, float(number)) for number, image in enumerate(images)])
    assert found == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("images", [2, 3, 17, 300])
def test_the_error_is_exactly_that_of_inspect(images: int) -> None:
    chance = random.Random(images)
    scored = [(f"i{chance.randrange(images)}", chance.random()) for _ in range(300)]
    samples = [
        SampleScore(score=Score(value=value), sample_metadata={"image_id": image})
        for image, value in scored
    ]
    error: Any = stderr(cluster="image_id")
    assert clustered_error(scored) == error(samples)


def test_a_value_without_an_image_is_refused() -> None:
    with pytest.raises(ValueError, match="image_id"):
        clustered_error([("a", 1.0), (None, 0.0)])
