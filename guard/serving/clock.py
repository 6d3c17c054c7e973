"""The time that a guard has, without that in which the model behind it answers."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

__all__ = ["Clock"]


class Clock:
    """Ends a block with `TimeoutError`; stands still while an answer is waited for.

    Args:
        seconds: The time.
    """

    def __init__(self, seconds: float) -> None:
        self._timeout = asyncio.timeout(None)
        self._answers = 0
        self._left = seconds
        self._runs = False

    async def __aenter__(self) -> "Clock":
        await self._timeout.__aenter__()
        self._timeout.reschedule(asyncio.get_running_loop().time() + self._left)
        self._runs = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._runs = False
        await self._timeout.__aexit__(kind, error, trace)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stands still within the block, which several tasks may enter at once."""
        now = asyncio.get_running_loop().time
        if self._answers == 0 and self._runs:
            self._left = (self._timeout.when() or now()) - now()
            self._timeout.reschedule(None)
        self._answers += 1
        try:
            yield
        finally:
            self._answers -= 1
            if self._answers == 0 and self._runs:
                self._timeout.reschedule(now() + self._left)
