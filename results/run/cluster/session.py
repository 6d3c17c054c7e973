"""A connection to a Ray cluster, for the time of a run: one of its own, or a running one."""

import io
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TextIO

from vlmguard.guard.errors import UserError
from vlmguard.guard.progress import show_status

__all__ = ["AUTO", "LOCAL", "Node", "connected", "nodes", "require_ray"]

LOCAL: Final = "local"
AUTO: Final = "auto"

# Cells go through it, a few kB each; Ray's own choice is a third of the memory.
_STORE: Final = 100 * 2**20
_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Node:
    """A machine of a cluster.

    Attributes:
        id: Ray's name of it.
        host: Its name.
        resources: All that it has, by Ray's names (`CPU`, `GPU`, ...).
    """

    id: str
    host: str
    resources: dict[str, float]


def require_ray() -> None:
    """Stop if Ray is not installed.

    Raises:
        UserError: Says how to install it.
    """
    if find_spec("ray") is None:
        raise UserError("--ray needs Ray: pip install 'vlmguard[ray]'.")


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Be connected to a cluster until the block ends; one of our own ends with it.

    Args:
        address: `local` for a cluster of this machine alone, `auto` for the running one
            (`RAY_ADDRESS`, or one that runs here), else `HOST:PORT` or `ray://HOST:PORT`.

    Raises:
        UserError: Ray is not installed, or there is no such cluster.
    """
    require_ray()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    show_status("starting Ray ..." if address == LOCAL else "connecting to Ray ...")
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    folder = None
    try:
        try:
            if address == LOCAL:
                # Not below TMPDIR, which may be long: Ray's sockets are there, whose paths have at
                # most 107 letters.
                folder = Path(tempfile.mkdtemp(prefix="vlmguard-ray-", dir=_parent()))
                own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": _STORE}
                ray.init("local", _temp_dir=str(folder), **own, **quiet)
            else:
                _reach(address)
                ray.init(address, **quiet)
        except (OSError, ImportError, RuntimeError, ValueError) as error:
            raise UserError(_no_cluster(address, error)) from error
        with _terminated_as_stopped(), redirect_stdout(_OneLineOfRay(sys.stdout)):
            yield
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


class _OneLineOfRay(io.TextIOBase):
    """Standard output, with what Ray says of lost nodes cut to a line.

    A thread of Ray's prints it there, with pages of the state of the node, and cannot be told not
    to. Which cells were lost is said by the run itself.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if threading.current_thread().name.startswith("ray_"):
            first = text.strip().partition("\n")[0]
            if first:
                print(f"Ray: {first}", file=sys.stderr)
            return len(text)
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    # Typeshed has an attribute here, which can be set. In this stream it is only read.
    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding


@contextmanager
def _terminated_as_stopped() -> Iterator[None]:
    """Take SIGTERM, as of a scheduler at the end of a job, for Ctrl-C; Ray would crash."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def nodes() -> list[Node]:
    """The machines of the cluster that are alive."""
    import ray

    # Ray's functions are not all typed.
    found: Any = ray
    return [
        Node(each["NodeID"], each["NodeManagerHostname"], dict(each["Resources"]))
        for each in found.nodes()
        if each["Alive"]
    ]


def _reach(address: str) -> None:
    """Try a connection, since Ray itself would wait for minutes.

    Raises:
        OSError: Nothing answers.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS).close()


def _parent() -> str:
    return os.environ.get("RAY_TMPDIR") or ("/tmp" if os.name == "posix" else tempfile.gettempdir())


def _no_cluster(address: str, error: Exception) -> str:
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    way = (
        "Start one (ray start --head), set RAY_ADDRESS, or write --ray local"
        if address == AUTO
        else "Write HOST:PORT of its head (ray status), ray://HOST:10001, auto or local"
    )
    return f"--ray {address}: no cluster answers: {said.rstrip('.')}. {way}."
