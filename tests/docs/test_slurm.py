"""The Slurm script, with stand-ins for Slurm that start real Ray nodes on this machine."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.documents import REPO

ray = pytest.importorskip("ray", reason="needs the extra [ray]")

SCRIPT = REPO / "docs/cluster/slurm.sh"
SRUN = """\
#!/bin/bash
echo "srun $*" >>"$TOLD"
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""
SCONTROL = """\
#!/bin/bash
[[ "$1 $2" == "show hostnames" ]] && tr , '\\n' <<<"$3"
"""
RUN = """\
import os
import sys
import time

import ray

with open(os.environ["TOLD"], "a") as told:
    ray.init(address=sys.argv[-1], log_to_driver=False)
    alive = sum(node["Alive"] for node in ray.nodes())
    cpus = int(ray.cluster_resources()["CPU"])
    told.write(f"vlmguard {' '.join(sys.argv[1:-1])}: {alive} nodes, {cpus} cpus\\n")
    told.flush()
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        told.write("interrupted\\n")
        sys.exit(130)
"""


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables of a job on two nodes."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (
        ("srun", SRUN),
        ("scontrol", SCONTROL),
        ("vlmguard", f"#!{sys.executable}\n{RUN}"),
    ):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    # Sockets have short paths.
    temp = Path("/tmp") / f"slurm-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    yield {
        **os.environ,
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "TOLD": str(tmp_path / "told"),
        "RAY_TEMP": str(temp),
        "RAY_PORT": str(port),
        "RAY_HEAD_IP": "127.0.0.1",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "first,second",
        "SLURM_CPUS_PER_TASK": "1",
    }
    shutil.rmtree(temp, ignore_errors=True)


def processes(temp: str) -> list[str]:
    """Processes of Ray with this folder."""
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True
    )
    return [line for line in listed.stdout.splitlines() if temp in line]


def test_nodes_join_the_run_gets_its_words_and_the_end_of_the_job_ends_it_as_ctrl_c_does(
    slurm: dict[str, str],
) -> None:
    told = Path(slurm["TOLD"])
    job = subprocess.Popen(["bash", str(SCRIPT), "--config", "my matrix.yaml"], env=slurm)
    try:
        ends = time.monotonic() + 120
        while not (told.is_file() and "vlmguard" in told.read_text()):
            assert job.poll() is None, told.read_text()
            assert time.monotonic() < ends, told.read_text()
            time.sleep(0.2)
        assert len(processes(slurm["RAY_TEMP"])) > 2
        job.send_signal(signal.SIGTERM)
        assert job.wait(60) == 130
    finally:
        job.terminate()
        job.wait()
    lines = told.read_text().splitlines()
    run = "vlmguard run --config my matrix.yaml --ray: 2 nodes, 2 cpus"
    assert lines[-2:] == [run, "interrupted"]
    steps = [line for line in lines if "ray start" in line]
    assert ["--head" in line for line in steps] == [True, False]
    assert ["first" in line for line in steps] == [True, False]
    assert processes(slurm["RAY_TEMP"]) == []
    # Who has no token may not run code there.
    assert (Path(slurm["HOME"]) / ".ray/auth_token").stat().st_mode & 0o077 == 0


def test_nodes_that_do_not_join_end_the_job(slurm: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bin/ray").write_text("#!/bin/bash\nexec sleep 30\n")
    (tmp_path / "bin/ray").chmod(0o755)
    short = {**slurm, "NODES_WAIT": "1", "RAY_AUTH_TOKEN": "a" * 32}
    ended = subprocess.run(
        ["bash", str(SCRIPT)], env=short, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "0 of 1 nodes joined within 1 s" in ended.stderr
    assert "vlmguard" not in Path(slurm["TOLD"]).read_text()


def test_an_address_that_others_cannot_reach_ends_the_job(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "bin/hostname").write_text("#!/bin/bash\necho 127.0.1.1\n")
    (tmp_path / "bin/hostname").chmod(0o755)
    alone = {**slurm, "RAY_HEAD_IP": "", "RAY_AUTH_TOKEN": "a" * 32}
    ended = subprocess.run(
        ["bash", str(SCRIPT)], env=alone, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "127.0.1.1" in ended.stderr
    assert "RAY_HEAD_IP" in ended.stderr


def test_bash_reads_it() -> None:
    assert subprocess.run(["bash", "-n", SCRIPT], check=False).returncode == 0
