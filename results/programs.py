"""Programs of this package that work beside this process, and how rarely Python tidies up in them.

They are started as programs of their own, not forked or by `multiprocessing`: that works beside
threads, in notebooks and in workers of others, on every system, and runs no line of the user's
script again.
"""

import contextlib
import gc
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

__all__ = ["processors", "rarely_collected", "started"]

_OBJECTS: Final = 50_000
"""How many more objects than before there are when Python looks for circles among them."""


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


@contextlib.contextmanager
def rarely_collected() -> Iterator[None]:
    """Let Python look for circles of objects less often: few are left behind, of figures alone.

    Each look goes through all that imports and logs made; by default they take a sixth of the time.
    """
    usual = gc.get_threshold()
    gc.set_threshold(_OBJECTS, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
