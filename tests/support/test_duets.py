"""Duets pair what two processes report, run by run."""

from pathlib import Path

import psutil
import pytest
from support.duets import Times, duet

SCRIPT = """\
import itertools
import os
import sys
import tempfile
import time
from pathlib import Path
sys.path.insert(0, {tests!r})
from support.duets import perform

side, runs, start = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
taken = itertools.chain([99.0], (start + number for number in range(runs)), itertools.repeat(99.0))
with Path({started!r}).open("a") as file:
    file.write(f"{{os.getpid()}} {{tempfile.mkdtemp()}}\\n")

def run():
    print("words of a run")
    if side == "broken":
        raise RuntimeError("broken on purpose")
    time.sleep(0.01)
    return next(taken) * (2 if side == "slow" else 1)

perform(run, runs)
"""


@pytest.fixture
def script(tmp_path: Path) -> str:
    file = tmp_path / "script.py"
    tests, started = str(Path(__file__).resolve().parents[1]), str(tmp_path / "started")
    file.write_text(SCRIPT.format(tests=tests, started=started))
    return str(file)


def test_pairs_average_the_runs_of_each_side_without_the_first_and_the_last(script: str) -> None:
    measured = duet(script, ("slow", "fast"), "10", count=2, runs=3)
    assert [(slow.seconds, fast.seconds) for slow, fast in measured] == [(22, 11), (22, 11)]
    assert all(
        isinstance(each, Times) and each.processor >= 0 for pair in measured for each in pair
    )


def test_each_pair_is_of_fresh_processes_of_which_nothing_is_left(script: str) -> None:
    duet(script, ("slow", "fast"), "10", count=2, runs=1)
    told = [each.split() for each in Path(script).with_name("started").read_text().splitlines()]
    assert len({pid for pid, _ in told}) == 4
    assert not any(psutil.pid_exists(int(pid)) or Path(folder).exists() for pid, folder in told)


def test_a_side_that_fails_ends_the_duet(script: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"'broken', '1', '10'.* ended before it said 'ready'"):
        duet(script, ("fast", "broken"), "10", count=2, runs=1)
    assert "broken on purpose" in capfd.readouterr().err
