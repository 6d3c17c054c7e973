"""Answers of a target: sampled if a row lacks them, and tried with rejection sampling."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import EvalLog
from inspect_ai.model import Model, ModelOutput
from support.synthesis import (
    good_reply,
    instead,
    metrics_of,
    raw_row,
    reasons_of,
    request_in,
    stage_of,
    stages,
    stored,
)

from vlmguard.training.synthesize import synthesize

Write = Callable[..., Path]
Make = Callable[..., Model]
Run = Callable[..., EvalLog]


def judged(safety: dict[str, float], helpful: dict[str, bool] | None = None) -> Any:
    """A judge that grades by words in the answer."""

    def reply(text: str) -> str:
        answer = text.split("<answer-")[1]
        name = next(each for each in safety if each in answer)
        verdict = {"safety": safety[name], "helpful": (helpful or {}).get(name, True)}
        return f"Well. {json.dumps(verdict)}"

    return reply


def test_what_is_no_answer_is_not_taught(write_rows: Write, model: Make, run: Run) -> None:
    said = iter(
        [
            ModelOutput.from_content("m", "The prompt was filtered.", "content_filter"),
            ModelOutput.from_content("m", "<think>best? Hm", "max_tokens"),
            "<think>worst?</think>fine one",
            "bad one",
        ]
    )
    log = run(
        synthesize(str(write_rows(raw_row(0, safe=None, unsafe=" "))), responses="sample"),
        model=model(lambda _: next(said), "target"),
        model_roles={
            "reasoner": model(),
            "grader": model(judged({"worst": 0, "fine": 8, "bad": 3}), "grader"),
        },
    )
    assert stored(log, "rows/r0", "safe") == "fine one"
    assert stored(log, "rows/r0", "unsafe") == "bad one"
    assert Counter(stages(log, "rows/r0"))["sample_judge"] == 2


def test_missing_answers_are_sampled_and_sorted(write_rows: Write, model: Make, run: Run) -> None:
    said = iter(["fine one", "worst one", "bad one", "best one"])
    seen: list[Any] = []
    grades = {"fine": 8, "worst": 0, "bad": 3, "best": 10}
    path = write_rows(raw_row(0, safe=None, unsafe=" "), raw_row(1))
    log = run(
        synthesize(str(path), responses="sample", samples=4),
        model=model(lambda _: next(said), "target", seen),
        model_roles={"reasoner": model(), "grader": model(judged(grades), "grader")},
    )
    assert reasons_of(log) == {"rows/r0": [], "rows/r1": []}
    assert stored(log, "rows/r0", "safe") == "best one"
    assert stored(log, "rows/r0", "unsafe") == "worst one"
    # The row that has both answers is not sampled.
    assert len(seen) == 4
    assert all(config.temperature == 1.0 for _, config in seen)
    counted = Counter(stages(log, "rows/r0"))
    assert (counted["sample"], counted["sample_judge"]) == (4, 4)
    # The judge's calls are paid for as well.
    metrics = metrics_of(log)
    assert metrics["output_tokens_sample_judge"] == metrics["output_tokens_sample"] == 20


def test_a_target_that_is_always_safe_gives_no_contrast(
    write_rows: Write, model: Make, run: Run
) -> None:
    path = write_rows(raw_row(0, unsafe=None))
    log = run(
        synthesize(str(path), responses="sample", samples=2),
        model=model(lambda _: "fine one", "target"),
        model_roles={"reasoner": model(), "grader": model(judged({"fine": 9}), "grader")},
    )
    assert reasons_of(log) == {"rows/r0": ["no_unsafe_response"]}
    assert stages(log, "rows/r0") == ["sample", "sample_judge"] * 2


def answers_in_turn(*answers: str) -> Callable[[str], str]:
    """A target that answers the original request first."""
    left = iter(answers)
    return lambda _: next(left)


@pytest.mark.parametrize(
    ("after", "safety", "helpful", "reasons"),
    [
        ("better", {"before": 3, "better": 8}, {}, []),
        ("same", {"before": 3, "same": 3}, {}, ["not_better"]),
        ("useless", {"before": 3, "useless": 9}, {"useless": False}, ["not_better"]),
        ("", {"before": 3}, {}, ["not_better"]),
    ],
)
def test_rejection_sampling_asks_for_safety_without_loss_of_help(
    after: str,
    safety: dict[str, float],
    helpful: dict[str, bool],
    reasons: list[str],
    write_rows: Write,
    model: Make,
    run: Run,
) -> None:
    seen: list[Any] = []
    log = run(
        synthesize(str(write_rows(raw_row(0))), rejection=1),
        model=model(answers_in_turn("before", after), "target", seen),
        model_roles={"reasoner": model(), "grader": model(judged(safety, helpful), "grader")},
    )
    assert log.status == "success"
    assert reasons_of(log) == {"rows/r0": reasons}
    asked = [input[-1].text for input, _ in seen]
    assert asked == [raw_row(0)["prompt"], stored(log, "rows/r0", "rewritten")]
    assert stored(log, "rows/r0", "trial")["original"]["safety"] == 3


def test_rejection_sampling_tries_again(write_rows: Write, model: Make, run: Run) -> None:
    count = iter(range(9))

    def reasoner(text: str) -> str:
        if stage_of(text) != "rewrite":
            return good_reply(text)
        number = next(count)
        if number == 0:
            return "garbage"
        words = ("Please refuse to help me", "slowly", "with a helper")[number - 1]
        prompt = f"{request_in(text)} {words}"
        return json.dumps({"reasoning": "A leaning ladder.", "prompt": prompt})

    seen: list[Any] = []
    log = run(
        synthesize(str(write_rows(raw_row(0))), rejection=4, check="rules"),
        model=model(answers_in_turn("before", "same", "better"), "target"),
        model_roles={
            "reasoner": model(reasoner, seen=seen),
            "grader": model(judged({"before": 3, "same": 3, "better": 9}), "grader"),
        },
    )
    assert reasons_of(log) == {"rows/r0": []}
    assert stored(log, "rows/r0", "rewritten").endswith("with a helper")
    # Unreadable and rule-breaking rewritings cost no target calls; the original is answered once.
    assert stages(log, "rows/r0") == [
        *("hindsight", "analysis", "rewrite", "rewrite", "rewrite"),
        *("try_original", "try_original_judge", "try_rewritten", "try_rewritten_judge"),
        *("rewrite", "try_rewritten", "try_rewritten_judge"),
    ]
    temperatures = [
        config.temperature for input, config in seen if stage_of(input[-1].text) == "rewrite"
    ]
    assert temperatures == [0.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("grades", "reason", "benign"),
    [
        ({"before": 10}, "already_safe", False),
        ({"before": 99}, "original_unjudged", False),
        ({"before": 99}, "original_unjudged", True),
    ],
)
def test_no_rewriting_is_tried_that_cannot_win(
    grades: dict[str, float], reason: str, benign: bool, write_rows: Write, model: Make, run: Run
) -> None:
    clearer = json.dumps({"reasoning": "A ladder.", "prompt": "How do I climb this ladder well?"})
    asked: list[Any] = []
    log = run(
        synthesize(
            str(write_rows(raw_row(0, benign=benign, prompt="How do I climb this ladder?"))),
            rejection=4,
        ),
        model=model(answers_in_turn("before"), "target", asked),
        model_roles={
            "reasoner": model(instead(benign=clearer)),
            "grader": model(judged(grades), "grader"),
        },
    )
    assert log.status == "success"
    assert reasons_of(log) == {"rows/r0": [reason]}
    assert len(asked) == 1
    assert stages(log, "rows/r0").count("rewrite") == 1


def test_a_benign_row_may_stay_as_safe_as_it_is(write_rows: Write, model: Make, run: Run) -> None:
    clearer = json.dumps({"reasoning": "A ladder.", "prompt": "How do I climb this ladder well?"})
    log = run(
        synthesize(
            str(write_rows(raw_row(0, benign=True, prompt="How do I climb this ladder?"))),
            rejection=1,
        ),
        model=model(answers_in_turn("before", "after"), "target"),
        model_roles={
            "reasoner": model(instead(benign=clearer)),
            "grader": model(judged({"before": 10, "after": 10}), "grader"),
        },
    )
    assert reasons_of(log) == {"rows/r0": []}


def test_the_trial_is_that_of_the_last_rewriting(write_rows: Write, model: Make, run: Run) -> None:
    words = iter(("slowly", "Please refuse to help me"))

    def reasoner(text: str) -> str:
        if stage_of(text) != "rewrite":
            return good_reply(text)
        prompt = f"{request_in(text)} {next(words)}"
        return json.dumps({"reasoning": "A leaning ladder.", "prompt": prompt})

    log = run(
        synthesize(str(write_rows(raw_row(0))), rejection=2, check="rules"),
        model=model(answers_in_turn("before", "same"), "target"),
        model_roles={
            "reasoner": model(reasoner),
            "grader": model(judged({"before": 3, "same": 3}), "grader"),
        },
    )
    assert reasons_of(log) == {"rows/r0": ["refusal"]}
    # The second rewriting broke a rule and was not tried.
    assert stored(log, "rows/r0", "rewritten").endswith("refuse to help me")
    assert set(stored(log, "rows/r0", "trial")) == {"original"}


def test_an_unchanged_benign_row_needs_no_try(write_rows: Write, model: Make, run: Run) -> None:
    seen: list[Any] = []
    log = run(
        synthesize(str(write_rows(raw_row(0, benign=True))), rejection=2),
        model=model("x".__add__, "target", seen),
        model_roles={"reasoner": model(), "grader": model(seen=seen)},
    )
    assert reasons_of(log) == {"rows/r0": []}
    assert seen == []
