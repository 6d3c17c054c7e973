"""Servers in processes of their own, on cores of their own where the system allows it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
START_SECONDS = 120


def cores() -> tuple[set[int], set[int]]:
    """The core of the server under test, and those of everything else.

    Both are empty where processes cannot be bound to cores, or there is only one.
    """
    if sys.platform != "linux":
        return set(), set()
    mine = sorted(os.sched_getaffinity(0))
    return ({mine[0]}, set(mine[1:])) if len(mine) > 1 else (set(), set())


@contextmanager
def on(bound: set[int]) -> Iterator[None]:
    """Bind this process to cores, for what it starts in the block; an empty set binds nothing."""
    if not bound:
        yield
        return
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, bound)
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


@contextmanager
def started(
    command: Sequence[str],
    port: int,
    log: Path,
    bound: set[int],
    environment: Mapping[str, str] | None = None,
) -> Iterator[int]:
    """A server, from when it takes connections until the block ends; yields its process id.

    Args:
        command: The command.
        port: The port where it will listen.
        log: File for its output.
        bound: Cores to which it is bound; empty for all.
        environment: Variables beside those of this process.

    Raises:
        RuntimeError: It did not start; the message holds the end of its output.
    """
    with log.open("w") as output, on(bound):
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
    try:
        _wait(process, port, log)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def upstream(kind: str, bound: set[int], streams: int = 0) -> Iterator[int]:
    """An upstream (see `upstream.py`) until the block ends; yields its port."""
    command = [sys.executable, str(HERE / "upstream.py"), kind, str(streams)]
    with on(bound):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def _wait(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"no server on port {port}:\n{log.read_text()[-2000:]}")
