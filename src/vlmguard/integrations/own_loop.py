"""An event loop on a thread of its own, for callers with and without a running one.

Clients of models belong to the loop that used them first. So all questions of a guard are put on
this one, whoever waits for them.
"""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextvars import Context
from typing import Any, TypeVar

__all__ = ["OwnLoop"]

T = TypeVar("T")


class OwnLoop:
    """The loop; it starts when it is first used, and ends with the process."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    def submit(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Begin work on the loop, in an empty context: nothing of the caller's run is seen there.

        Args:
            work: The work.
        """
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=self._loop.run_forever, name="vlmguard", daemon=True
                ).start()
        return Context().run(asyncio.run_coroutine_threadsafe, work, self._loop)
