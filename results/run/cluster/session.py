"""A connection to a Ray cluster, for the time of a run: one of its own, or a running one."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final

from vlmguard.guard.errors import UserError
from vlmguard.guard.progress import erase_status, show_status
from vlmguard.results.run.cluster.own import own_folder
from vlmguard.results.run.cluster.said_by_ray import shortened

__all__ = ["AUTO", "LOCAL", "Node", "connected", "nodes", "require_ray"]

LOCAL: Final = "local"
AUTO: Final = "auto"

# Cells go through it, a few kB each; Ray's own choice is a third of the memory.
_STORE: Final = 100 * 2**20
_SECONDS: Final = 10.0
_CLIENT: Final = "ray://"
_REFUSED: Final = "InvalidAuthToken"
_SETTINGS: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray else gathers lines that repeat, and prints them when it ends.
    "RAY_DEDUP_LOGS": "0",
}
_TRIES: Final = "RAY_gcs_server_port_wait_time_s"


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
            (`RAY_ADDRESS`, or one that runs here), else `HOST:PORT`.

    Raises:
        UserError: Ray is not installed, or there is no such cluster.
    """
    require_ray()
    if address.startswith(_CLIENT):
        raise UserError(
            f"--ray {address}: Ray's client is not supported: start the run on a machine of the "
            "cluster, with --ray auto or HOST:PORT of its head (6379, not 10001)."
        )
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    show_status("starting Ray ..." if address == LOCAL else "connecting to Ray ...")
    with ExitStack() as held:
        folder = held.enter_context(own_folder()) if address == LOCAL else None
        import ray

        # Ray also prints while it ends.
        held.enter_context(shortened())
        held.callback(ray.shutdown)
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            if folder is not None:
                own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": _STORE}
                ray.init("local", _temp_dir=str(folder), **own, **quiet)
            else:
                _reach(address)
                with _one_try():
                    # `auto` stays, with which Ray looks for a token by itself.
                    ray.init(address, **quiet)
        except (OSError, ImportError, RuntimeError, ValueError) as error:
            raise UserError(_no_cluster(address, error)) from error
        finally:
            erase_status()
        with _terminated_as_stopped():
            yield


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


@contextmanager
def _one_try() -> Iterator[None]:
    """Have Ray try once (40 s at most) where it would try for ten minutes without a word."""
    before = os.environ.get(_TRIES)
    os.environ[_TRIES] = before or "1"
    try:
        yield
    finally:
        os.environ.pop(_TRIES)
        if before is not None:
            os.environ[_TRIES] = before


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
    """Try a connection, since Ray itself would wait for minutes. What is no address, Ray refuses.

    Raises:
        OSError: Nothing answers, or no cluster is known to run here.
    """
    # Ray has no public name for where `auto` leads, which may be a head that has ended.
    from ray._private.services import canonicalize_bootstrap_address

    found: str | None = address if address != AUTO else os.environ.get("RAY_ADDRESS") or AUTO
    if found in (AUTO, LOCAL):
        found = canonicalize_bootstrap_address(AUTO)
    if found is None:
        raise ConnectionError("RAY_ADDRESS is local, which is no running cluster")
    host, _, port = found.rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), _SECONDS).close()
        except OSError as error:
            raise ConnectionError(f"{found}: {error.strerror or error}") from error


def _no_cluster(address: str, error: Exception) -> str:
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    if _REFUSED in f"{error} {error.__cause__}":
        return (
            f"--ray {address}: the cluster asks for a token, and this process has none or another "
            "one. Set RAY_AUTH_MODE=token here as on its nodes, with the token of its head in "
            "~/.ray/auth_token (ray get-auth-token)."
        )
    way = (
        "Start one (ray start --head), set RAY_ADDRESS, or write --ray local"
        if address == AUTO
        else "Write HOST:PORT of its head (ray status), auto or local"
    )
    return f"--ray {address}: no cluster answers: {said.rstrip('.')}. {way}."
