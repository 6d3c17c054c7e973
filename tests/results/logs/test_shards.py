"""The logs of a run's shards are one run, equal to that of one log; what is missing is named."""

from pathlib import Path

import pandas as pd
import pytest
from support.shards import split
from support.toy import Toy, run_toy, say

from vlmguard.results.logs.frame import Results, read_results

COUNT = 4
ANSWERS = [say(number % 10, number % 2 == 0) for number in range(12)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    run_toy(folder, Toy(size=12, benign=3), ANSWERS, defended=True)
    return folder


@pytest.fixture(scope="module")
def parts(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    (log,) = whole.glob("*.eval")
    return split(log, tmp_path_factory.mktemp("parts"), COUNT)


def read(*paths: Path) -> Results:
    return read_results([str(path) for path in paths])


def test_shards_are_one_run_like_that_of_one_log(whole: Path, parts: list[Path]) -> None:
    (one,), (run,) = read(whole).runs, read(*parts).runs
    assert run.paths == tuple(map(str, parts))
    assert run.shard is None
    pd.testing.assert_frame_equal(run.answers, one.answers)
    pd.testing.assert_frame_equal(run.samples(), one.samples())
    for name in (
        "column",
        "target",
        "defense",
        "defense_version",
        "template",
        "guards",
        "judge",
        "declared",
        "asked",
        "remarks",
        "approximations",
        "observed",
        "overhead_gap",
    ):
        assert vars(run)[name] == vars(one)[name], name
