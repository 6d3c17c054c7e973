"""The weights of one model object: loaded together, asked in turn, given back together."""

import os
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Final

from vlmguard.guard.hf_vlm.threads import in_daemon, result_of
from vlmguard.guard.hf_vlm.vlm import CLOSED, Vlm

__all__ = ["Replicas"]

_LOADER: Final = "load-weights"
"""Name of the threads that wait for weights, outside the event loop."""


class Replicas:
    """One or more of the same model, each request for the one with the fewest.

    Args:
        make: Makes them, before they are loaded.

    Attributes:
        vlms: Those that are loaded.
        asked: How many requests each of them has.
    """

    def __init__(self, make: Callable[[], list[Vlm]]) -> None:
        self.vlms: list[Vlm] = []
        self.asked: list[int] = []
        self._make = make
        self._opening: Future[None] | None = None
        self._opened_in = os.getpid()
        self._closed = False
        self._lock = threading.Lock()

    def begin(self) -> "Future[None]":
        """Begin to load the weights, if nobody has; the result says when it is done.

        After a process with weights has died, this loads all of them again.
        """
        with self._lock:
            opening, here = self._opening, os.getpid()
            # A fork has no thread that would load them.
            forked = here != self._opened_in
            if opening is None or forked or (opening.done() and not self._usable()):
                opening = self._opening = in_daemon(self._load, _LOADER)
                self._opened_in = here
            return opening

    @asynccontextmanager
    async def least_busy(self) -> AsyncIterator[Vlm]:
        """The one with the fewest requests, loaded; it has one more meanwhile."""
        if self._opening is None or not self.vlms:
            await result_of(self.begin())
        self._check()
        asked = self.asked
        place = asked.index(min(asked))
        asked[place] += 1
        try:
            yield self.vlms[place]
        finally:
            asked[place] -= 1

    def close(self) -> None:
        """Give the weights back, for good."""
        self._closed = True
        vlms, self.vlms = self.vlms, []
        for vlm in vlms:
            vlm.close()

    def _usable(self) -> bool:
        try:
            self._check()
        except RuntimeError:
            return False
        return True

    def _check(self) -> None:
        if self._closed or not self.vlms:
            raise RuntimeError(CLOSED)
        for vlm in self.vlms:
            vlm.check()

    def _load(self) -> None:
        self._check_not_closed()
        for vlm in self.vlms:
            vlm.close()  # of a process that has died
        self.vlms = []
        vlms = self._make()
        try:
            for loading in [in_daemon(vlm.load, _LOADER) for vlm in vlms]:
                loading.result()
        except BaseException:
            for vlm in vlms:
                vlm.close()
            raise
        self.asked = [0] * len(vlms)
        self.vlms = vlms
        try:
            self._check_not_closed()
        except RuntimeError:
            self.close()  # closed while loading
            raise

    def _check_not_closed(self) -> None:
        if self._closed:
            raise RuntimeError(CLOSED)
