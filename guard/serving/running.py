"""Runs the server: one process, or several workers on one port.

What a server was started with reaches its workers through a pipe (`multiprocessing`'s spawn), so a
key of a model's arguments stands in no command line, file or variable of theirs that was not there
before. Each worker makes its own models.
"""

import argparse
import gc
import json
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Final

import uvicorn
from starlette.applications import Starlette
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from vlmguard.guard.errors import UserError, reason_of
from vlmguard.guard.serving.logs import LOGGER
from vlmguard.guard.serving.metrics import FOLDER, PACKAGE

__all__ = ["bound", "run", "write_logs"]

_BACKLOG: Final = 2048
_START_SECONDS: Final = 120
_IDLE_SECONDS: Final = 75
# Python's own 700 is reached by one request.
_NEW_OBJECTS: Final = 10_000


def bound(host: str, port: int) -> socket.socket:
    """A socket at an address, before anything is loaded.

    Raises:
        UserError: The address is taken, or is none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"--host {host} --port {port}: nothing can be served there ({reason_of(error)}). "
            "Name another port, or stop what uses it."
        ) from error
    # asyncio sets this for sockets that it makes itself. Without it, the end of an answer waits for
    # the client to confirm the beginning, up to 40 ms. Accepted connections have it from here.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.set_inheritable(True)
    return listening


def run(
    make: Callable[[argparse.Namespace], Starlette],
    arguments: argparse.Namespace,
    listening: socket.socket,
) -> int:
    """Serve until a signal; returns the exit status.

    Args:
        make: Makes the application, in each worker.
        arguments: The command line's.
        listening: As from `bound`.
    """
    config = uvicorn.Config(
        partial(_started, make, arguments),
        factory=True,
        workers=arguments.workers,
        log_config=None,
        access_log=False,
        # The upstream's own stay the only ones.
        server_header=False,
        date_header=False,
        # Longer than what clients and balancers keep a connection: who closes first must be they,
        # since a request on its way to a closed one is lost.
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=arguments.grace,
        # Imports and local models take longer than the default, after which a worker is killed.
        timeout_worker_healthcheck=_START_SECONDS,
        backlog=_BACKLOG,
    )
    if arguments.workers == 1:
        return _alone(uvicorn.Server(config), listening)
    folder = tempfile.mkdtemp(prefix=f"{PACKAGE}-")
    os.environ[FOLDER] = folder
    try:
        workers = _Workers(config, sockets=[listening])
        workers.run()
        failed = any(each.exitcode == STARTUP_FAILURE for each in workers.processes)
        return 2 if failed else 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_logs() -> None:
    """Send the server's log to standard error, one JSON object a line."""
    handler = logging.StreamHandler(sys.stderr)
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    below = logging.getLogger("uvicorn.error")
    short = logging.StreamHandler(sys.stderr)
    short.setFormatter(_Short())
    # Why a start failed is said where it failed.
    start = ("Traceback", "Application startup failed", "Child process")
    short.addFilter(lambda record: not record.getMessage().startswith(start))
    below.addHandler(short)
    below.setLevel(logging.WARNING)
    below.propagate = False


def _alone(server: uvicorn.Server, listening: socket.socket) -> int:
    try:
        server.run([listening])
    except SystemExit as ended:
        return 2 if ended.code == STARTUP_FAILURE else 1
    return 0


class _Workers(Multiprocess):
    """uvicorn's, whose first workers leave Ctrl-C to this process until they serve.

    A terminal sends it to all of them. One that died of it while it loaded would be waited for as
    long as a start may take, and then replaced.

    One that dies while it is asked whether it works would be waited for as long, too: this process
    holds the worker's end of their pipe open.
    """

    def init_processes(self) -> None:
        """Start the workers."""
        # What is ignored stays so in a new process, until uvicorn's server there sets its own.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        super().init_processes()
        signal.signal(signal.SIGINT, before)

    def keep_subprocess_alive(self) -> None:
        """Replace the workers that have ended."""
        for each in self.processes:
            each.child_conn.close()
        super().keep_subprocess_alive()


class _Short(logging.Formatter):
    """uvicorn's messages without the errors behind them, which may quote a request."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps({"server": record.getMessage().strip()})


def _started(
    make: Callable[[argparse.Namespace], Starlette], arguments: argparse.Namespace
) -> Starlette:
    write_logs()
    app = make(arguments)
    # What is loaded stays. Looking through all of it for garbage would hold up some answers.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)
    return app
