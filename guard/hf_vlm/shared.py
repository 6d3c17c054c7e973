"""Things that several users share by key, of which the last user ends each."""

import threading
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(eq=False)
class Share(Generic[K, V]):
    """A thing, with the number of its users."""

    key: K
    value: V
    users: int = 0


class Shared(Generic[K, V]):
    """Counts the users of each thing.

    Args:
        end: Called with a thing that its last user gave back.
        usable: Whether a thing can have another user; if not, a new one takes its place.
    """

    def __init__(
        self, end: Callable[[V], None], usable: Callable[[V], bool] = lambda _: True
    ) -> None:
        self._end = end
        self._usable = usable
        self._shares: dict[K, Share[K, V]] = {}
        self._lock = threading.Lock()
        self._given_back: deque[Share[K, V]] = deque()

    def __contains__(self, key: K) -> bool:
        return key in self._shares

    def keys(self) -> set[K]:
        """The keys that have users."""
        return set(self._shares)

    def values(self) -> list[V]:
        """The things that have users."""
        return [share.value for share in list(self._shares.values())]

    def take(self, key: K, make: Callable[[], V]) -> Share[K, V]:
        """The thing with this key, for one more user.

        Args:
            key: The key.
            make: Makes it if there is none.
        """
        with self._lock:
            share = self._shares.get(key)
            if share is None or not self._usable(share.value):
                share = self._shares[key] = Share(key, make())
            share.users += 1
        self._sweep()
        return share

    def give_back(self, share: Share[K, V]) -> None:
        """Give a thing back; the last user to do so ends it.

        The garbage collector calls this too, at any moment and in any thread, even in the middle of
        `take`. So this never waits for the lock: the thread that holds it ends the thing
        afterwards.
        """
        self._given_back.append(share)
        self._sweep()

    def forget(self) -> None:
        """After a fork: leave all things to the parent, one of whose threads may hold the lock."""
        self._lock = threading.Lock()
        self._shares.clear()

    def _sweep(self) -> None:
        """End what was given back, unless another thread holds the lock and will do so."""
        # Check again after the lock is free: one may come between the inner loop and the release.
        while self._given_back and self._lock.acquire(blocking=False):
            try:
                while self._given_back:
                    share = self._given_back.popleft()
                    share.users -= 1
                    if share.users == 0:
                        if self._shares.get(share.key) is share:
                            del self._shares[share.key]
                        self._end(share.value)
                    del share
            finally:
                self._lock.release()
