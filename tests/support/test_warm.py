"""The process that runs the commands of our pages leaves nothing behind."""

import json
import subprocess
import sys
from pathlib import Path

from support.howtos import shim, warm

LIGHT = f"""
import sys
sys.path.insert(0, {str(Path(warm.__file__).parents[2])!r})
from support.howtos import warm
warm._imports = lambda: None
warm._trust = warm._smaller = lambda *known: None
warm.main(*sys.argv[1:])
"""
WAITS = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"


def test_a_command_ends_with_whoever_runs_the_pages(tmp_path: Path) -> None:
    known = json.dumps({"hosts": {"nowhere": 1}, "ca": "", "sets": {}, "suites": ""})
    place = str(tmp_path / "warm")
    # A process that is killed closes its end of a pipe too.
    serving = subprocess.Popen(
        [sys.executable, "-c", LIGHT, place, known],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert serving.stdin is not None
    assert serving.stdout is not None
    assert serving.stdout.readline() == "ready\n"
    run = f"import runpy; runpy.run_path({shim.__file__!r}, run_name='__main__')"
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable} -IS\n{run}\n")
    program.chmod(0o755)
    command = subprocess.Popen(
        [program, "-c", WAITS],
        env={"HOWTOS_WARM": place},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert command.stdout is not None
    pid = int(command.stdout.readline())
    serving.stdin.close()
    assert serving.wait(20) == 0
    assert command.wait(20) != 0
    assert command.stdout.read() == ""
    assert not Path(f"/proc/{pid}").exists()
