"""Throughput of a run in two shards, on two processes of Ray, relative to one process.

Samples of three calls (rewriter, target, judge), each with an answer after 200 ms that the model
API itself waits for: no server takes a core of this machine. 128 calls are in flight in all: 128
of one process, or 64 of each of two. Both sides are the command `vlmguard run`.

Compared is the steady state: samples per second from the moment when each process of a side has
finished 40 samples until the first has 40 left. So neither imports nor the start of Ray count,
which a real matrix pays once, nor the end, when connections run dry. The share of Ray is the part
of its own processes (and of the command that waits) in all processor time of that period.

    python tests/bench/shards.py        # about 6 minutes
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil
import yaml
from support.noted_calls import Notes
from support.pairs import show, verdict
from support.siuo_folder import write_siuo

LIMIT = 1.6
SAMPLES, IN_FLIGHT, LATENCY = 600, 128, 0.2
PAIRS = 6
EDGE = 40
"""Samples of each process at the start and at the end that are not counted."""

Times = dict[int, float]
"""Processor time of each process, by its id."""


def main() -> int:
    """Compare, and show the share of Ray; returns 1 if the limit is missed."""
    found: dict[int, list[Measured]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_siuo(folder / "siuo", SAMPLES)
        for number in range(PAIRS):
            for shards in (1, 2) if number % 2 else (2, 1):
                found[shards].append(measure(folder, f"{number}-{shards}", shards))
    title = f"three-call samples, {LATENCY:g} s each call, {IN_FLIGHT} in flight"
    names = {1: "one process", 2: "two shards on Ray"}
    speeds = {names[shards]: [each.speed for each in rows] for shards, rows in found.items()}
    costs = {names[shards]: [1000 * each.cost for each in rows] for shards, rows in found.items()}
    show(title, speeds, "samples/s")
    show("processor time of a sample, without Ray's own", costs, "ms")
    shares = [100 * each.overhead for each in found[2]]
    show("processor time of Ray and of the waiting command", {"of all": shares}, "%")
    ratios = [two / one for one, two in zip(*speeds.values(), strict=True)]
    kept = verdict(ratios, LIMIT, at_least=True, what="two shards / one process")
    return 0 if kept else 1


@dataclass(frozen=True)
class Measured:
    """The steady state of a run.

    Attributes:
        speed: Samples per second.
        cost: Processor time of the processes that run samples, in seconds a sample.
        overhead: The share of all other processes in all processor time.
    """

    speed: float
    cost: float
    overhead: float


def measure(folder: Path, name: str, shards: int) -> Measured:
    """Measure one run.

    Args:
        folder: Holds the data.
        name: Of its files.
        shards: Number of shards, each in a process of its own; 1 runs without Ray.
    """
    notes = Notes(folder / name)
    config = folder / f"{name}.yaml"
    config.write_text(yaml.safe_dump(matrix(folder, name, shards)))
    words = [str(Path(sys.executable).parent / "vlmguard"), "run", "--config", str(config)]
    ray = ["--ray", "local", "--shards", str(shards)] if shards > 1 else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **notes.environment}
    looks: list[tuple[float, Times]] = []
    process = subprocess.Popen([*words, *ray], env=environment, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        looks.append((time.time(), times(process.pid)))
        time.sleep(0.5)
    assert process.returncode == 0
    began, ended, finished = steady(notes, shards)
    at_work = {call.process for call in notes.calls()}
    # The looks just outside of the period, so this is time of a little more than that.
    (first_at, first) = [each for each in looks if each[0] <= began][-1]
    (last_at, last) = next(each for each in looks if each[0] >= ended)
    spent = {pid: seconds - first.get(pid, 0.0) for pid, seconds in last.items()}
    ours = sum(spent[pid] for pid in spent if pid in at_work)
    speed = finished / (ended - began)
    return Measured(speed, ours / (last_at - first_at) / speed, 1 - ours / sum(spent.values()))


def matrix(folder: Path, name: str, shards: int) -> dict[str, object]:
    """The configuration of a run."""
    model = {"model_args": {"latency": LATENCY}}
    at_once = IN_FLIGHT // shards
    return {
        "log_dir": str(folder / f"{name}-logs"),
        "targets": [{"model": "noted/target", **model}],
        "roles": {role: {"model": f"noted/{role}", **model} for role in ("rewriter", "grader")},
        "benchmarks": [
            {"name": "siuo", "args": {"data_dir": str(folder / "siuo"), "judge": "general"}}
        ],
        "defenses": [{"name": "vlmguard"}],
        "options": {"max_samples": at_once, "max_connections": at_once, "display": "none"},
    }


def times(pid: int) -> Times:
    """The processor time of a command and of all its descendants."""
    found = {}
    try:
        whole = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return {}
    for each in whole:
        try:
            spent = each.cpu_times()
            found[each.pid] = spent.user + spent.system
        except psutil.Error:
            continue  # it has just ended
    return found


def steady(notes: Notes, processes: int) -> tuple[float, float, int]:
    """The period in which all processes are at work: start, end, and the samples finished in it."""
    verdicts: dict[int, list[float]] = {}
    for call in notes.calls():
        if call.model == "grader":  # the last call of a sample
            verdicts.setdefault(call.process, []).append(call.at)
    assert len(verdicts) == processes
    began = max(sorted(each)[EDGE] for each in verdicts.values())
    ended = min(sorted(each)[-EDGE] for each in verdicts.values())
    assert ended > began, "no period in which all processes were at work"
    return began, ended, sum(began <= at < ended for each in verdicts.values() for at in each)


if __name__ == "__main__":
    raise SystemExit(main())
