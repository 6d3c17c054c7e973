"""A process that imports PyTorch and transformers once, and forks itself for each engine.

Inspect's process starts it (`launching`) as soon as it has a local model, so that the imports run
while the task loads. A fork is ready in a few hundredths of a second. Here nothing is computed, and
no device is touched: after that, PyTorch does not work in a fork.

It ends with the process that started it, however that ends, and takes the engines along.
"""

import ctypes
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from typing import Final

NUMBER: Final = struct.Struct("!Q")
"""A number with a socket asks for a fork, with this socket to its user."""

ENDED: Final = struct.Struct("!Qi")
"""The number of a fork that has ended, and its status as `waitpid` gives it."""

_SUBREAPER: Final = 36
"""PR_SET_CHILD_SUBREAPER of Linux."""

_GRACE: Final = 5.0
"""Seconds that engines have to end by themselves when the user is gone."""


def main(number: int) -> None:
    """Fork until the other side of a socket is gone.

    Args:
        number: Its file descriptor.
    """
    _quiet()
    control = socket.socket(fileno=number)
    import torch

    from vlmguard.guard.hf_vlm.engine_process import main as run

    _adopt()
    # By an import, bitsandbytes perhaps; then a fork could not use it.
    fresh = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # an untyped library
    gc.collect()
    gc.freeze()  # or the first collection in each fork would copy all that was imported
    wake, waked = socket.socketpair()
    for each in (wake, waked):
        each.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    children: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control, waked], [], [])
        if waked in ready:
            waked.recv(4096)
            for fork, status in _ended(children):
                with suppress(OSError):
                    control.sendall(ENDED.pack(fork, status))
        if control in ready:
            asked = _asked(control)
            if asked is None:
                break
            fork, sock = asked
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for each in (control, wake, waked):
                    each.close()
                if fresh:
                    os.set_inheritable(sock, True)
                    os.execv(sys.executable, command("alone", sock))
                run(socket.socket(fileno=sock))
                os._exit(0)
            children[pid] = fork
            os.close(sock)
    _end(children)
    os._exit(0)  # nothing is left to tidy up


def alone(number: int) -> None:
    """Be one engine process, without a fork.

    Args:
        number: File descriptor of the socket to its user.
    """
    _quiet()
    from vlmguard.guard.hf_vlm.engine_process import main as run

    run(socket.socket(fileno=number))
    os._exit(0)


def command(function: str, number: int) -> list[str]:
    """The command line of a fresh Python that runs a function of this module.

    Args:
        function: `main` or `alone`.
        number: File descriptor of its socket.
    """
    code = (
        "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
        f"from {__name__} import {function}; {function}(int(sys.argv[1]))"
    )
    # -P: what is named `json.py` in the current folder is not for us.
    return [sys.executable, "-P", "-c", code, str(number), json.dumps(sys.path)]


def _adopt() -> None:
    """Become the parent of what engines leave behind, and not a process that never asks for it."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def _quiet() -> None:
    # Ctrl-C in a terminal is for the process that started this one, and ends this one through it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _asked(control: socket.socket) -> tuple[int, int] | None:
    try:
        # What an engine starts must not hold its sockets open.
        flags = socket.MSG_CMSG_CLOEXEC
        data, found, _, _ = socket.recv_fds(control, NUMBER.size, 1, flags)
    except ConnectionResetError:
        return None
    if len(data) < NUMBER.size or not found:
        return None
    (number,) = NUMBER.unpack(data)
    return number, found[0]


def _ended(children: dict[int, int]) -> list[tuple[int, int]]:
    found = []
    with suppress(ChildProcessError):  # there is none
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            if pid in children:  # and no process that prepared images for one
                found.append((children.pop(pid), status))
    return found


def _end(children: dict[int, int]) -> None:
    """Wait for the engines, which see that their user is gone; kill what does not end."""
    until = time.monotonic() + _GRACE
    while children and time.monotonic() < until:
        _ended(children)
        time.sleep(0.01)
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
