"""Rates of the unsafe class, by hand."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.scorer import SampleScore, Score

from vlmguard.guard.files import read_csv
from vlmguard.scorers.guard_rates import average_precision, guard_rates


def rates(given: Sequence[tuple[bool, float]], **more: list[Any]) -> dict[str, Any]:
    scores = [
        SampleScore(
            score=Score(
                value={"label": float(unsafe), "flagged": flagged},
                metadata={name: values[place] for name, values in more.items()},
            )
        )
        for place, (unsafe, flagged) in enumerate(given)
    ]
    found = guard_rates()(scores)  # type: ignore[arg-type,call-arg]
    assert isinstance(found, dict)
    return found


def test_rates_are_those_of_the_unsafe_class() -> None:
    # Of 3 unsafe ones 2 are flagged, of 4 safe ones 1.
    given = [(True, 1.0), (True, 1.0), (True, 0.0), (False, 1.0), *[(False, 0.0)] * 3]
    assert rates(given) == {"precision": 2 / 3, "f1": 2 / 3, "unparsed": 0.0}


def test_an_unparsed_verdict_is_left_out_and_bounds_say_what_it_could_change() -> None:
    given = [(True, 1.0), (True, math.nan), (False, 1.0), (False, math.nan), (False, 0.0)]
    assert rates(given) == pytest.approx(
        {
            "precision": 1 / 2,
            "f1": 2 / 3,
            "unparsed": 2 / 5,
            # All wrong: 1 hit of 2 unsafe, 2 false alarms of 3. All right: 2 of 2, 1 of 3.
            "precision_low": 1 / 3,
            "precision_high": 2 / 3,
            "recall_low": 1 / 2,
            "recall_high": 1.0,
            "f1_low": 2 / 5,
            "f1_high": 4 / 5,
            "false_positive_rate_low": 1 / 3,
            "false_positive_rate_high": 2 / 3,
        }
    )


def test_a_guard_that_never_flags_has_no_precision_and_no_f1() -> None:
    found = rates([(True, 0.0), *[(False, 0.0)] * 19])
    assert math.isnan(found["precision"])
    assert found["f1"] == 0.0


def test_latency_is_that_of_the_guards_calls() -> None:
    given = [(True, 1.0)] * 5
    found = rates(given, seconds=[1.0, 2.0, 3.0, 4.0, 5.0])
    assert (found["latency_p50"], found["latency_p95"]) == (3.0, pytest.approx(4.8))
    assert "latency_p50" not in rates(given, seconds=[None] * 5)


def test_average_precision_by_hand() -> None:
    # Thresholds .9: 1 of 1; .8: 1 of 2; .7: 2 of 3 -> 1/2 * 1 + 1/2 * 2/3
    assert average_precision([True, False, True], [0.9, 0.8, 0.7]) == pytest.approx(5 / 6)
    # The textbook example of four: 0.1, 0.4, 0.35, 0.8 with labels 0, 0, 1, 1.
    assert average_precision([False, False, True, True], [0.1, 0.4, 0.35, 0.8]) == pytest.approx(
        1 / 2 * 1 + 1 / 2 * 2 / 3
    )
    assert math.isnan(average_precision([False], [0.3]))


def test_the_order_of_ties_does_not_count() -> None:
    # One threshold with all four: precision is the share of unsafe ones, in any order.
    for labels in ([True, False, False, True], [False, True, True, False]):
        assert average_precision(labels, [0.5] * 4) == 0.5


def test_average_precision_is_over_verdicts_with_a_score() -> None:
    found = rates([(True, 1.0), (False, 0.0), (True, 0.0)], score=[0.9, 0.2, None])
    assert (found["auprc"], found["with_score"]) == (1.0, 2)
    assert "auprc" not in rates([(True, 1.0)], score=[None])


# The figures of the MSTS answers, computed apart (all dirt counts as safe there).
PUBLISHED = {
    "Llama-Guard-3-11B-Vision": (0.552, 0.204, 0.298),
    "Llama-3.2-90B-Vision-Instruct": (0.569, 0.204, 0.301),
    "omni-moderation-latest": (0.025, 0.105, 0.041),
    "gpt-4o-2024-05-13": (0.189, 0.906, 0.312),
    "gemini-1.5-pro": (0.526, 0.680, 0.593),
    "claude-3-5-sonnet-20240620": (0.522, 0.525, 0.523),
    # Two verdicts say neither; ours leave these out. Both are of safe answers.
    "LlavaGuard-v1.2-7B-OV": (0.066, 0.050, 0.057),
    "Qwen2-VL-72B-Instruct": (0.537, 0.199, 0.290),
}


def test_eight_recorded_guards_have_the_rates_computed_apart(real_data: Any) -> None:
    columns, people = (
        f"data/{folder}/english_multimodal{end}.csv"
        for folder, end in (("auto_eval", "_autoeval"), ("response_annotations", ""))
    )
    folder: Path = real_data("msts", columns, people)
    verdicts, labels = (read_csv(folder / name)[1] for name in (columns, people))
    unsafe = [row["final_label"] == "2 - unsafe" for _, row in labels]
    assert (len(unsafe), sum(unsafe)) == (4000, 181)
    meant = {"safe": 0.0, "safe.": 0.0, "unsafe": 1.0}
    dirty = {}
    for judge, (precision, recall, f1) in PUBLISHED.items():
        flags = [meant.get(row[judge], math.nan) for _, row in verdicts]
        given = list(zip(unsafe, flags, strict=True))
        found = rates(given)
        known = [flag for is_unsafe, flag in given if is_unsafe and not math.isnan(flag)]
        shown = (found["precision"], sum(known) / len(known), found["f1"])
        assert tuple(round(each, 3) for each in shown) == (precision, recall, f1), judge
        dirty[judge] = round(found["unparsed"] * 4000)
    assert {judge: n for judge, n in dirty.items() if n} == {
        "LlavaGuard-v1.2-7B-OV": 2,
        "Qwen2-VL-72B-Instruct": 1,
    }
