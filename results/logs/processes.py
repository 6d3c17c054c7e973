"""Other processes that read logs for this one.

They are programs of their own (`reading_process`). What they read comes back as bytes that hold
data alone (`codec`). A process that ends too early costs time, and no log.
"""

import contextlib
import json
import logging
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from vlmguard.results.logs.answers import LeftOut
from vlmguard.results.logs.codec import UNDECODABLE, unpacked
from vlmguard.results.logs.kept import reader_version
from vlmguard.results.logs.run import Run
from vlmguard.results.programs import started

__all__ = ["Processes"]

_LOGGER: Final = logging.getLogger(__name__)
_PROGRAM: Final = "vlmguard.results.logs.reading_process"

Found = list[Run] | LeftOut
"""What reading a log gives."""


class Processes:
    """Logs that this process and others read.

    Args:
        read: Reads one log in this process.
    """

    def __init__(self, read: Callable[[str], Found]) -> None:
        self._read = read
        self._changed = threading.Condition()
        self._todo: deque[str] = deque()
        self._reading: set[str] = set()
        self._found: dict[str, Found] = {}
        self._started = False
        self._programs: list[subprocess.Popen[bytes]] = []
        self._threads: list[threading.Thread] = []

    @property
    def started(self) -> bool:
        """Whether `start` was called, with success or not."""
        return self._started

    def start(self, paths: list[str], number: int) -> None:
        """Have other processes begin with logs.

        Args:
            paths: The logs, in the order in which they will be asked for.
            number: How many processes.
        """
        self._started = True
        self._todo.extend(dict.fromkeys(paths))
        for _ in range(number):
            try:
                program = started(_PROGRAM)
            except OSError as error:  # As in some sandboxes.
                _LOGGER.debug("no process can be started to read logs: %s", error)
                return
            thread = threading.Thread(target=self._serve, args=(program,), daemon=True)
            self._programs.append(program)
            self._threads.append(thread)
            thread.start()

    def result(self, path: str) -> Found:
        """What a log holds; until another process has read it, this one reads others."""
        while True:
            with self._changed:
                if path in self._found:
                    return self._found.pop(path)
                if path not in self._reading and path not in self._todo:
                    mine = path
                elif self._todo:
                    mine = self._todo.popleft()
                else:
                    self._changed.wait()
                    continue
            found = self._read(mine)
            if mine == path:
                return found
            with self._changed:
                self._found[mine] = found

    def end(self) -> None:
        """End the other processes, whatever they do."""
        with self._changed:
            self._todo.clear()
        for program in self._programs:
            program.kill()
        for thread in self._threads:
            thread.join()
        for program in self._programs:
            program.wait()

    def _serve(self, program: "subprocess.Popen[bytes]") -> None:
        """Give a process one log after the other."""
        assert program.stdin is not None
        assert program.stdout is not None
        with contextlib.suppress(OSError, ValueError), program.stdin, program.stdout:
            # It must know the same cards and secrets as this process, or it would read otherwise.
            if program.stdout.readline().decode().strip() != reader_version():
                _LOGGER.debug("a process that reads logs knows other cards; it is not used")
                return
            while path := self._next():
                found = None
                try:
                    program.stdin.write(json.dumps(path).encode() + b"\n")
                    program.stdin.flush()
                    size = int(program.stdout.readline())
                    content = program.stdout.read(size)
                    if size and len(content) == size:
                        found = unpacked(content)
                except (OSError, *UNDECODABLE) as error:
                    _LOGGER.debug("a process that reads logs ended: %s", error)
                    return
                finally:
                    self._done(path, found)

    def _next(self) -> str | None:
        with self._changed:
            if not self._todo:
                return None
            path = self._todo.popleft()
            self._reading.add(path)
            return path

    def _done(self, path: str, found: Found | None) -> None:
        """Note what a process read; nothing means that this process must read it."""
        with self._changed:
            self._reading.discard(path)
            if found is not None:
                self._found[path] = found
            self._changed.notify_all()
