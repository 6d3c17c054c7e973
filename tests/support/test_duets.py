"""Duets pair what two processes report, run by run."""

from pathlib import Path

import pytest
from support.duets import Times, duet

SCRIPT = """\
import sys
sys.path.insert(0, {tests!r})
from support.duets import perform

side, runs, start = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
taken = iter([99.0, *(start + number for number in range(runs)), 99.0])

def run():
    print("words of a run")
    if side == "broken":
        raise RuntimeError("broken on purpose")
    return next(taken) * (2 if side == "slow" else 1)

perform(run, runs)
"""


@pytest.fixture
def script(tmp_path: Path) -> str:
    file = tmp_path / "script.py"
    file.write_text(SCRIPT.format(tests=str(Path(__file__).resolve().parents[1])))
    return str(file)


def test_pairs_average_the_runs_of_each_side_without_the_first_and_the_last(script: str) -> None:
    measured = duet(script, ("slow", "fast"), "10", count=2, runs=3)
    assert [(slow.seconds, fast.seconds) for slow, fast in measured] == [(22, 11), (28, 14)]
    assert all(
        isinstance(each, Times) and each.processor >= 0 for pair in measured for each in pair
    )


def test_a_side_that_fails_ends_the_duet(script: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"'broken', '2', '10'.* ended before it said 'ready'"):
        duet(script, ("fast", "broken"), "10", count=2, runs=1)
    assert "broken on purpose" in capfd.readouterr().err
