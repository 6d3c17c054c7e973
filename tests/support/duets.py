"""Duets: both sides of a ratio at the same time, each in its own process.

On a shared machine single runs vary by tens of percent, and so do pairs one after the other, which
hides a few percent. Side by side, both meet the same fast and slow moments, and their ratio varies
several times less:

    Duet Benchmarking: Improving Measurement Accuracy in the Cloud
    L. Bulej, V. Horky, P. Tuma, F. Farquet, A. Prokopec
    ICPE 2020, https://arxiv.org/abs/2001.05811

Cores differ too, by the other work of their host, so on Linux the sides change places every second.
Code that uses all cores itself (torch, for example) would be measured wrongly, two at a time: see
`pairs`.
"""

import gc
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from statistics import mean

from support.pairs import PAIRS


@dataclass(frozen=True)
class Times:
    """Mean times of one side's runs.

    Attributes:
        seconds: Wall time.
        processor: Processor time of the side's process, in seconds.
    """

    seconds: float
    processor: float


def duet(
    script: str, sides: tuple[str, str], *arguments: str, count: int = PAIRS, runs: int = 3
) -> list[tuple[Times, Times]]:
    """Run both sides at once, repeatedly, and pair their times.

    Each pair is of two fresh processes: two of the same code were found to differ by up to 5 %, and
    a pair that lived on would show that again and again.

    Args:
        script: Started as `python SCRIPT SIDE RUNS ARGUMENTS`, it must call `perform`.
        sides: Names of the sides.
        *arguments: Passed on to the script.
        count: Number of pairs.
        runs: Runs of each side in a pair.

    Returns:
        For each pair the times of the first side and of the second.

    Raises:
        SystemExit: A side failed; its message is on stderr.
    """
    measured = []
    for _ in range(count):
        first, second = _together(script, sides, arguments, runs)
        measured.append((_mean(first), _mean(second)))
    return measured


def _together(
    script: str, sides: tuple[str, str], arguments: tuple[str, ...], runs: int
) -> list[list[str]]:
    """What both sides say of their runs, in fresh processes."""
    with ExitStack() as stack:
        # They are killed in the middle of their last run.
        folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        players = []
        for side in sides:
            player = subprocess.Popen(
                [sys.executable, script, side, str(runs), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "TMPDIR": folder},
                start_new_session=True,
            )
            stack.enter_context(player)
            stack.callback(_end, player)
            players.append(player)
        for player in players:
            _wait_for(player, "ready")
        for player in players:
            assert player.stdin is not None
            print("go", file=player.stdin, flush=True)
        over = threading.Event()
        seats = threading.Thread(target=_change_places, args=(players, over))
        seats.start()
        stack.callback(seats.join)
        stack.callback(over.set)
        return [[_wait_for(player, "took") for _ in range(runs)] for player in players]


def _end(player: "subprocess.Popen[str]") -> None:
    """End a side with all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(player.pid, signal.SIGKILL)


def perform(run: Callable[[], float], runs: int) -> None:
    """Be one side of a duet: warm up, wait for the other side, then run.

    Each run starts without the garbage of the last. After the measured runs it goes on until it is
    killed, so that the machine is equally busy to the end of the slower side.

    Args:
        run: Makes one run and returns its seconds.
        runs: Number of measured runs.
    """
    run()
    print("ready", flush=True)
    sys.stdin.readline()
    for number in itertools.count():
        gc.collect()
        before = time.process_time()
        seconds = run()
        if number < runs:
            print("took", json.dumps([seconds, time.process_time() - before]), flush=True)


def _change_places(players: list[subprocess.Popen[str]], over: threading.Event) -> None:
    """Swap the cores of both sides' main threads, every second until the end."""
    if sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2:
        return
    cores = sorted(os.sched_getaffinity(0))[:2]
    while not over.wait(1.0):
        cores.reverse()
        for player, core in zip(players, cores, strict=True):
            with suppress(ProcessLookupError):
                os.sched_setaffinity(player.pid, {core})


def _wait_for(player: subprocess.Popen[str], word: str) -> str:
    assert player.stdout is not None
    for line in player.stdout:
        first, _, rest = line.rstrip("\n").partition(" ")
        if first == word:
            return rest
    raise SystemExit(f"{player.args} ended before it said {word!r}.")


def _mean(lines: list[str]) -> Times:
    values = [json.loads(line) for line in lines]
    return Times(mean(wall for wall, _ in values), mean(cpu for _, cpu in values))
