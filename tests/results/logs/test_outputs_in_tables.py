"""Outputs that are not whole answers are visible in frame and table."""

import re
from pathlib import Path

import pytest
from inspect_ai.model import ModelOutput
from support.toy import Toy, run_toy, say

from vlmguard.cli import main
from vlmguard.results.logs.frame import read_results

OUTPUTS = [
    say(8, True),
    ModelOutput.from_content("target", say(6, True), "max_tokens"),
    ModelOutput.from_content("target", "", "content_filter"),
    ModelOutput.from_content("target", "The prompt was filtered.", "content_filter"),
    "",
    say(7, False),
]


def answer(text: str) -> str | ModelOutput:
    found = re.search(r"\d+", text)
    assert found
    return OUTPUTS[int(found[0])]


def test_kinds_of_outputs_stand_in_frame_and_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_toy(tmp_path / "none", Toy(size=6), answer)
    results = read_results([str(tmp_path)])
    answers = results.frame.sort_values("sample")
    assert answers["output"].to_list() == [
        *("answer", "cut_off", "refusal", "refusal", "no_answer", "answer")
    ]
    # Safe, not helpful and refused: 8, 6, 10, 10 and 7 of the five that count.
    assert answers["judge.safety"].mean() == pytest.approx(41 / 5)
    assert answers["judge.helpful"].sum() == 2
    assert answers["refusal.refused"].sum() == 2
    said = (
        "of 6 outputs 1 cut off (max_tokens), 2 marked as refusals by the provider "
        "(content_filter), 1 no answers (empty)"
    )
    assert results.runs[0].remarks == [said]
    assert main(["leaderboard", str(tmp_path)]) == 0
    assert said in " ".join(capsys.readouterr().out.split())
