"""Programs of this package that work beside this process.

They are started as programs of their own, not forked or by `multiprocessing`: that works beside
threads, in notebooks and in workers of others, on every system, and runs no line of the user's
script again.
"""

import os
import platform
import subprocess
import sys

__all__ = ["processors", "started"]


def started(module: str) -> "subprocess.Popen[bytes]":
    """Start a module as a program that is spoken to by its input and output."""
    # -P: no file beside the user's scripts is taken for the package.
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)},
    )


def processors() -> int:
    """The processors that this process may use."""
    if platform.system() == "Linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
