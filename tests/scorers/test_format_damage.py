"""What words around a right answer cost."""

import math

from inspect_ai.scorer import SampleScore, Score

from vlmguard.scorers.format_damage import lost_by_format


def scored(right: float, strictly: float) -> SampleScore:
    return SampleScore(score=Score(value={"correct": right, "correct_strict": strictly}))


def test_the_gap_is_over_scored_answers() -> None:
    scores = [scored(1, 1), scored(1, 0), scored(0, 0), scored(1, 0), scored(math.nan, math.nan)]
    assert lost_by_format(scores) == 2 / 4
    assert math.isnan(lost_by_format(scores[-1:]))
    # A strict rule may be right by chance.
    assert lost_by_format([scored(0, 1)]) == -1.0
