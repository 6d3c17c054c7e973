"""Summaries are read as Inspect's own reader reads them, or by it."""

import json
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import read_eval_log_sample_summaries
from support.toy import Toy, run_toy, say

from vlmguard.results.logs.archive import opened_log
from vlmguard.results.logs.summaries import as_written, from_inspect


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    grades = [say(8, True), "no verdict", say(3, False)]
    return run_toy(tmp_path_factory.mktemp("read"), Toy(), [*grades, *grades]).location


def test_both_readers_agree(log: str) -> None:
    path = log.removeprefix("file://")
    with opened_log(path) as file:
        assert file.summaries() == from_inspect(read_eval_log_sample_summaries(path))


ROW: dict[str, Any] = {
    "id": "a",
    "epoch": 1,
    "metadata": {"category": "x"},
    "scores": {"judge": {"value": {"safety": 1.0, "helpful": None}, "metadata": None}},
    "started_at": "2026-01-01T00:00:00+00:00",
}


@pytest.mark.parametrize(
    "change",
    [
        {"id": 1.5},
        {"epoch": "1"},
        {"metadata": None},
        {"scores": {"judge": {"value": None}}},
        {"scores": {"judge": {"value": {"safety": [1]}}}},
        {"scores": {"judge": {"value": 1, "metadata": {"unscored_reason": "older"}}}},
        {"started_at": "2026-01-01T00:00:00"},
        {"model_usage": {"m": {"total_cost": "1"}}},
        {"retries": "1"},
    ],
)
def test_rows_of_another_shape_are_left_to_inspect(change: dict[str, Any]) -> None:
    assert as_written([json.loads(json.dumps(ROW))]) is not None
    assert as_written([ROW | change]) is None
    assert as_written({"a": 1}) is None


def test_the_last_row_of_an_answer_counts() -> None:
    again = ROW | {"error": "later"}
    (found,) = as_written([ROW, again]) or []
    assert found.error == "later"


def test_whole_samples_are_read_by_id(log: str, tmp_path: Path) -> None:
    with opened_log(log.removeprefix("file://")) as file:
        assert file.sample("toy/1", 1)["id"] == "toy/1"
        with pytest.raises(KeyError):
            file.sample("toy/99", 1)
