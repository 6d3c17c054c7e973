"""Runs on two nodes that are killed, stopped and resumed: no sample is lost or paid for in vain.

Each call is noted outside of all processes, and each reply depends on its request alone. Logs go
to a bucket where a node is killed, and to a folder where all of a run is.
"""

import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from inspect_ai.log import list_eval_logs, read_eval_log
from support.launcher import Launcher, launcher
from support.noted_calls import Notes
from support.object_store import object_store
from support.siuo_folder import write_siuo

from vlmguard.cli import main

pytest.importorskip("ray")

pytestmark = pytest.mark.slow

SAMPLES, SHARDS = 24, 4
CALLS = 3
"""Calls of a sample: rewriter, target, judge."""
AT_ONCE = 2
LATENCY = 0.25
# Of each process that is killed: its running samples, and one that was not written yet.
LOST = (AT_ONCE + 1) * CALLS


@dataclass(frozen=True)
class Bench:
    """A cluster of two nodes on this machine.

    Attributes:
        folder: For configurations and logs.
        notes: All calls.
        command: Starts `vlmguard`.
        cluster: Of Ray.
    """

    folder: Path
    notes: Notes
    command: Launcher
    cluster: Any

    def words(self, logs: str) -> list[str]:
        """The command that runs or resumes a matrix in shards, with its logs in a folder."""
        config = self.config(logs, SHARDS)
        return ["vlmguard", "run", "--config", config, "--ray", str(self.cluster.address)]

    def config(self, logs: str, shards: int) -> str:
        """A configuration."""
        model = {"model_args": {"latency": LATENCY if shards > 1 else 0.0}}
        matrix = {
            "log_dir": logs,
            "targets": [{"model": "noted/target", **model}],
            "roles": {role: {"model": f"noted/{role}", **model} for role in ("rewriter", "grader")},
            "benchmarks": [
                {
                    "name": "siuo",
                    "args": {"data_dir": str(self.folder / "siuo"), "judge": "general"},
                }
            ],
            "defenses": [{"name": "vlmguard"}],
            "options": {"max_samples": AT_ONCE, "max_connections": AT_ONCE, "display": "none"},
            **({"shards": shards} if shards > 1 else {}),
        }
        path = self.folder / f"{logs.rpartition('/')[2]}.yaml"
        path.write_text(yaml.safe_dump(matrix))
        return str(path)

    def wait_for(self, seen: Callable[[], bool]) -> None:
        """Wait until something has happened while a command runs."""
        deadline = time.monotonic() + 180
        while not seen():
            assert time.monotonic() < deadline, self.command.output
            time.sleep(0.05)


def results(logs: str) -> dict[str, Any]:
    """Answer and scores of each sample in the finished logs below a folder."""
    found = {}
    for info in list_eval_logs(logs):
        log = read_eval_log(info)
        if log.status == "success":
            for sample in log.samples or []:
                assert sample.id not in found
                scores = {name: each.value for name, each in (sample.scores or {}).items()}
                found[str(sample.id)] = (sample.output.completion, scores)
    return found


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, repo: Path) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("cluster")
    write_siuo(folder / "siuo", SAMPLES)
    notes = Notes(folder / "notes")
    with (
        # A short name: paths of sockets have at most 107 letters.
        tempfile.TemporaryDirectory(dir="/tmp", prefix="ray-") as sockets,
        pytest.MonkeyPatch.context() as monkeypatch,
        object_store(monkeypatch),
    ):
        for name, value in {**notes.environment, "RAY_TMPDIR": sockets}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        node = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=node)
        try:
            cluster.add_node(**node)
            with launcher(repo, folder / "output", {}) as command:
                yield Bench(folder, notes, command, cluster)
        finally:
            cluster.shutdown()


@pytest.fixture(scope="module")
def undisturbed(bench: Bench) -> dict[str, Any]:
    """The results of a run without shards and without Ray."""
    logs = str(bench.folder / "whole")
    assert main(["run", "--config", bench.config(logs, 1)]) == 0
    found = results(logs)
    assert len(found) == SAMPLES
    return found


def test_a_node_is_killed_in_the_middle(bench: Bench, undisturbed: dict[str, Any]) -> None:
    before, words = len(bench.notes.calls()), bench.words("s3://logs/killed")
    (node,) = bench.cluster.worker_nodes
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)

    def at_work() -> bool:
        there = {each.pid for each in raylet.children(recursive=True)}
        return sum(call.process in there for call in bench.notes.calls()[before:]) > CALLS

    bench.command.start(*words)
    bench.wait_for(at_work)
    for each in [raylet, *raylet.children(recursive=True)]:
        each.kill()
    assert bench.command.wait() == 0, bench.command.output
    assert "It goes on elsewhere with what is in its log" in bench.command.output
    assert results("s3://logs/killed") == undisturbed
    lost = len(bench.notes.calls()) - before - SAMPLES * CALLS
    assert bench.notes.paid_twice(before) == lost
    assert lost <= LOST
    print(f"a killed node cost {lost} of {SAMPLES * CALLS} calls again")

    # The same command again has nothing to do.
    before = len(bench.notes.calls())
    assert bench.command.run(*words) == 0, bench.command.output
    assert len(bench.notes.calls()) == before


def test_ctrl_c_and_a_killed_driver(bench: Bench, undisturbed: dict[str, Any]) -> None:
    before, logs = len(bench.notes.calls()), str(bench.folder / "stopped")
    words = bench.words(logs)
    killed: set[int] = set()
    for number, status in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        began = len(bench.notes.calls())
        bench.command.start(*words)
        bench.wait_for(lambda began=began: len(bench.notes.calls()) >= began + 10)  # type: ignore[misc]
        bench.command.interrupt(number)
        assert bench.command.wait() == status, bench.command.output
        processes = {call.process for call in bench.notes.calls()[began:]}
        bench.wait_for(lambda them=processes: not any(map(psutil.pid_exists, them)))  # type: ignore[misc]
        killed |= processes
    assert bench.command.run(*words) == 0, bench.command.output
    assert results(logs) == undisturbed
    lost = bench.notes.paid_twice(before)
    assert lost == len(bench.notes.calls()) - before - SAMPLES * CALLS
    assert lost <= len(killed) * LOST
    print(f"Ctrl-C and a killed driver cost {lost} of {SAMPLES * CALLS} calls again")
