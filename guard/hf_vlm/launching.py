"""Starts the processes of engines, and knows how they ended; for Inspect's process.

On Linux they are forks of a process that has imported everything (`nursery`); elsewhere, where a
fork does not get along with the system's libraries, each is a fresh Python.
"""

import atexit
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from vlmguard.guard.hf_vlm import nursery
from vlmguard.guard.hf_vlm.nursery import ENDED, NUMBER
from vlmguard.guard.hf_vlm.protocol import CountDevices, Surroundings
from vlmguard.guard.hf_vlm.said import Said
from vlmguard.guard.hf_vlm.wire import receive, send

FORKS: Final = sys.platform == "linux"
"""Whether a process may fork after it has imported PyTorch."""

POSSIBLE: Final = os.name == "posix"
"""Whether sockets can be handed to another process."""

_READ_ONCE: Final = (
    "CUDA_DEVICE",
    "GOMP_",
    "HF_",
    "HUGGINGFACE_",
    "KMP_",
    "LD_",
    "MKL_",
    "OMP_",
    "OPENBLAS_",
    "PYTHON",
    "PYTORCH_",
    "TORCH_",
    "TRANSFORMERS_",
)
"""Beginnings of the names of variables that libraries read when they are imported."""

_SPINS: Final = 3000
"""How often a helper of OpenMP looks for more work before it sleeps (GOMP_SPINCOUNT): for about as
long as it takes to wake one. By default it looks for milliseconds, and takes the core from what
others have to do there.
"""

_WAIT: Final = 10.0
"""Seconds for a process to end when it is told to, or for news of how it ended."""

_LAST_WORDS: Final = 1.0
"""Seconds for what was written before that to be passed on."""


def surroundings() -> Surroundings:
    """Those of this process, as they are now."""
    folder = ""
    with suppress(OSError):
        folder = str(Path.cwd())
    return Surroundings(dict(os.environ), folder)


class Launcher:
    """Starts processes, each with a socket to it."""

    def __init__(self) -> None:
        self.settings = _settings()
        self._ended: dict[int, int] = {}  # `returncode` of subprocess
        self._news = threading.Condition()
        self._last = 0
        self._gone = False
        self._control: socket.socket | None = None
        self._said = Said()
        if FORKS:
            self._control, theirs = socket.socketpair()
            with theirs:
                self._nursery = _python("main", theirs, self._said.number)
            self._said.complete()
            _daemon(self._watch, self._control)

    @property
    def good(self) -> bool:
        """Whether it starts processes as this one would now."""
        return not self._gone and self.settings == _settings()

    def launch(self) -> tuple[int, socket.socket]:
        """Start a process; returns a number for `how_it_ended`, and the socket to it."""
        ours, theirs = socket.socketpair()
        with theirs, self._news:
            self._last += 1
            if self._control is None:
                process = _python("alone", theirs, self._said.number)
                _daemon(self._wait_for, process, self._last)
                return self._last, ours
            with suppress(OSError):  # the nursery is gone, as our socket will show
                socket.send_fds(self._control, [NUMBER.pack(self._last)], [theirs.fileno()])
            return self._last, ours

    def how_it_ended(self, number: int) -> str:
        """How a process ended, in words; this may wait for the news."""
        with self._news:
            self._news.wait_for(lambda: number in self._ended or self._gone, _WAIT)
            code = self._ended.get(number)
        if code is None:
            return "ended"
        if code >= 0:
            return f"ended with exit status {code}"
        killed = f"was ended by signal {signal.Signals(-code).name}"
        out_of_memory = " (if nobody sent it, the machine ran out of memory)"
        return killed + out_of_memory * (code == -signal.SIGKILL)

    def end(self) -> None:
        """End the processes, and wait for them."""
        if self._control is None:
            return  # each ends when its socket is closed
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        if not self._last:
            self._nursery.kill()  # it may still be importing
        try:
            self._nursery.wait(_WAIT)
        except subprocess.TimeoutExpired:
            self._nursery.kill()
            self._nursery.wait()
        self._said.wait(_LAST_WORDS)

    def forget(self) -> None:
        """After a fork: leave the processes to the parent."""
        self._said.forget()
        if self._control is not None:
            self._control.close()
            self._nursery.returncode = 0  # not this process's child

    def _watch(self, control: socket.socket) -> None:
        with suppress(OSError):
            while data := control.recv(ENDED.size, socket.MSG_WAITALL):
                number, status = ENDED.unpack(data)
                self._note(number, os.waitstatus_to_exitcode(status))
        with self._news:
            self._gone = True
            self._news.notify_all()

    def _wait_for(self, process: "subprocess.Popen[bytes]", number: int) -> None:
        self._note(number, process.wait())

    def _note(self, number: int, code: int) -> None:
        with self._news:
            self._ended[number] = code
            self._news.notify_all()


_launchers: list[Launcher] = []
_lock = threading.Lock()


def launcher() -> Launcher:
    """The launcher of this process; a new one if what libraries read once has changed since.

    The first call starts the imports, and does not wait for them.
    """
    with _lock:
        if not _launchers or not _launchers[-1].good:
            _launchers.append(Launcher())
        return _launchers[-1]


_cuda_devices: dict[str | None, int] = {}


def cuda_devices() -> int:
    """How many CUDA devices a process of ours has; this may wait for the imports.

    Raises:
        RuntimeError: No process can be started.
    """
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if seen not in _cuda_devices:
        here = launcher()
        number, sock = here.launch()
        with sock:
            try:
                send(sock, pickle.dumps(CountDevices(surroundings())))
                _cuda_devices[seen] = pickle.loads(receive(sock))
            except (OSError, EOFError) as error:
                raise RuntimeError(could_not_start(here.how_it_ended(number))) from error
    return _cuda_devices[seen]


def could_not_start(how: str) -> str:
    """The message about a process that ended before it did anything."""
    return (
        f"a process for local models {how} at its start: what it wrote to the standard error says "
        "why. Is PyTorch installed, and is there memory left?"
    )


def _settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_READ_ONCE)}


def _python(function: str, sock: socket.socket, errors: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        nursery.command(function, sock.fileno()),
        stdin=subprocess.DEVNULL,
        stdout=errors,  # what is printed must not get among the output of a command
        stderr=errors,
        pass_fds=[sock.fileno()],
        env=_environment(),
        # A signal to the group of the process that asks is for that one alone.
        start_new_session=True,
    )


def _environment() -> dict[str, str]:
    # Asking whether there is a GPU would touch it, after which no fork could use it.
    added = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
    if "OMP_WAIT_POLICY" not in os.environ:
        added["GOMP_SPINCOUNT"] = os.environ.get("GOMP_SPINCOUNT", str(_SPINS))
    return {**os.environ, **added}


def _daemon(work: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=work, args=arguments, name="hf-vlm_launcher", daemon=True).start()


@atexit.register
def _end_all() -> None:
    for each in _launchers:
        each.end()


def _forget_all() -> None:
    for each in _launchers:
        each.forget()
    _launchers.clear()
    global _lock
    _lock = threading.Lock()


if POSSIBLE:
    os.register_at_fork(after_in_child=_forget_all)
