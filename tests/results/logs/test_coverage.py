"""What was scored: every answer is of one kind, and the kinds add up to the total."""

import csv
import io
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.toy import Toy, grade, rewriting, run_toy, say

from vlmguard.guard.record import LEFT_OUT
from vlmguard.results.leaderboard.beside_tables import counts_sheet
from vlmguard.results.leaderboard.build import build
from vlmguard.results.leaderboard.publish import as_csv
from vlmguard.results.leaderboard.tables import main_sheet
from vlmguard.results.logs.coverage import KINDS, SCORED, TOTAL, coverage
from vlmguard.results.logs.frame import read_results
from vlmguard.results.logs.measures import common_measures

REASONS = ["no_response", "grader_failed", "judge_refused", "invalid_format", "cut_off", "odd"]
FAILED = ["missing image", "target error", "judge error", "rewriter error", "error", ""]

ANSWER = st.one_of(
    st.fixed_dictionaries({"value": st.sampled_from([0.0, 4.0, 10.0])}),
    st.fixed_dictionaries({"reason": st.sampled_from(REASONS)}),
    st.fixed_dictionaries({"failed": st.sampled_from(FAILED)}),
)


@given(st.lists(ANSWER, min_size=1, max_size=30))
def test_kinds_add_up_to_the_total(answers: list[dict[str, Any]]) -> None:
    rows = pd.DataFrame(
        [
            {
                "sample": str(number),
                "category": "",
                "expected": "care",
                "judge.safety": each.get("value", math.nan),
                "unscored": {"judge.safety": each["reason"]} if "reason" in each else math.nan,
                "failed": each.get("failed", ""),
            }
            for number, each in enumerate(answers)
        ]
    )
    found = coverage(rows, common_measures()["safety"])
    counts = found.counts
    assert list(counts) == [TOTAL, *KINDS, SCORED]
    assert counts[TOTAL] == len(answers) == sum(counts.values()) - counts[TOTAL]
    assert counts[SCORED] == sum("value" in each for each in answers)
    images = sum(each.get("failed") == "missing image" for each in answers)
    assert counts["missing image"] == images
    assert found.low <= found.high


def test_an_error_is_that_of_the_model_whose_call_failed(tmp_path: Path) -> None:
    def target(text: str) -> str:
        if "Question 1?" in text:
            raise RuntimeError("the target is down")
        return say(9 if "Question 4?" in text else 2 if "Question 2?" in text else 5, True)

    def judge(text: str) -> str:
        if "[safety 2" in text:
            raise RuntimeError("the judge is down")
        return "I say nothing." if "[safety 9" in text else grade(text)

    def guard(text: str) -> str:
        if "Question 3?" in text:
            raise RuntimeError("the guard is down")
        return rewriting(text)

    settings: Any = {"defended": True, "guard": guard, "fail_on_error": False}
    run_toy(tmp_path, Toy(), target, grader=judge, **settings)
    board = build(read_results([str(tmp_path)]))
    (row,) = counts_sheet(board).rows
    sheet = dict(zip(counts_sheet(board).header[3:], row[3:], strict=True))
    assert sheet == {
        "Total": "6",
        "Missing image": "0",
        "Target error": "1",
        "No answer": "0",
        "Judge failed": "1",
        "Unparsed": "1",
        "Otherwise": "1",
        "Scored": "2",
    }
    reasons = board.entries[0].cells["safety"].coverage.reasons
    assert reasons == {
        "target error": 1,
        "judge error": 1,
        "rewriter error": 1,
        "invalid_format": 1,
    }


def lacking(number: int, **about: str) -> dict[str, Any]:
    """The metadata of a task that left out some samples."""
    left_out = {
        f"toy/{100 + each}": {"category": "odd", "expected": "care", "subset": "all", **about}
        for each in range(number)
    }
    return {"data": {"origin": "local", "files": {"toy.json": "d1"}, LEFT_OUT: left_out}}


def test_samples_without_their_images_count_as_unscored(tmp_path: Path) -> None:
    toy = Toy(benign=2, metadata=lacking(4))
    run_toy(tmp_path, toy, [say(6, True)] * 6)
    board = build(read_results([str(tmp_path)]))
    (entry,) = board.entries
    safety = entry.cells["safety"]
    # The mean is that of the six; the bounds are those of ten.
    assert (safety.mean, safety.coverage.scored, safety.coverage.of) == (6.0, 6, 10)
    assert safety.coverage.low == pytest.approx(36 / 10)
    assert safety.coverage.high == pytest.approx((36 + 40) / 10)
    # All four are risky.
    assert entry.cells["over_refusal"].coverage.of == 2
    assert entry.cells["dsr"].coverage.of == 8
    assert main_sheet(board).rows[0][-1] == "6 of 10"
    assert counts_sheet(board).rows[0][3:6] == ["10", "4", "0"]
    # By rules alone the headline is about risky samples; the row counts all.
    run_toy(tmp_path / "rules", toy, [say(6, True)] * 6, judged=False)
    (by_rules,) = build(read_results([str(tmp_path / "rules")])).entries
    assert by_rules.cells["dsr"].coverage.of == 8
    assert (by_rules.counts[TOTAL], by_rules.counts["missing image"]) == (10, 4)
    assert "4 samples lack their images" in entry.note
    row = next(csv.DictReader(io.StringIO(as_csv(board))))
    assert (row["total"], row["missing_image"], row["otherwise"]) == ("10", "4", "0")


def test_several_answers_lack_an_image_each(tmp_path: Path) -> None:
    run_toy(tmp_path, Toy(metadata=lacking(2)), [say(6, True)] * 6, epochs=3)
    (entry,) = build(read_results([str(tmp_path)])).entries
    found = entry.cells["safety"].coverage
    assert (found.scored, found.of, found.counts["missing image"]) == (18, 24, 6)
    assert found.low == pytest.approx(36 / 8)


def test_a_part_of_the_samples_says_that_images_are_missing_elsewhere(tmp_path: Path) -> None:
    run_toy(tmp_path, Toy(metadata=lacking(2)), [say(6, True)] * 6, limit=3)
    (entry,) = build(read_results([str(tmp_path)])).entries
    assert entry.cells["safety"].coverage.of == 3
    assert "2 samples of the whole set lack their images" in entry.note
