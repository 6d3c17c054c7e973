"""What processes for local models write is passed on, and they hold nothing open of this one."""

import os
import subprocess
import sys

from vlmguard.guard.hf_vlm.said import Said

CAPTURED = """
import os, threading
from vlmguard.guard.hf_vlm.launching import launcher

# As inspect-flow does: output goes to a pipe for a while, whose reader waits for its end.
reader, writer = os.pipe()
before = {number: os.dup(number) for number in (1, 2)}
for number in before:
    os.dup2(writer, number)
os.close(writer)
nursery = launcher()._nursery
for number, kept in before.items():
    os.dup2(kept, number)
read = threading.Thread(target=os.fdopen(reader, "rb").read)
read.start()
read.join(30)
print("waits" if read.is_alive() else "read", "alive" if nursery.poll() is None else "ended")
if read.is_alive():
    nursery.kill()
"""


def test_who_captures_output_does_not_wait_for_the_process_that_forks_engines() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CAPTURED], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "read alive\n", done.stderr


def test_what_is_written_reaches_standard_error(capfd) -> None:
    said = Said()
    os.write(said.number, b"Out of memory.\n")
    said.complete()
    said.wait(30)
    assert capfd.readouterr().err == "Out of memory.\n"


def test_without_standard_error_it_is_dropped(monkeypatch) -> None:
    monkeypatch.setattr(sys, "__stderr__", None)
    said = Said()
    os.write(said.number, b"x" * 200_000)
    said.complete()
    said.wait(30)
    assert not said._thread.is_alive()
