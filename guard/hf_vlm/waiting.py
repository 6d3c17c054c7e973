"""Wait in an event loop (asyncio or trio) for what a thread does."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import anyio
from anyio.lowlevel import current_token

T = TypeVar("T")


async def result_of(future: "Future[T]") -> T:
    """The result of a future that a thread sets, without blocking the event loop.

    Args:
        future: A future of `concurrent.futures`.

    Returns:
        Its result.

    Raises:
        Exception: What the thread set in its place.
    """
    done = anyio.Event()
    wake = _waker(done.set)
    future.add_done_callback(lambda _: wake())
    await done.wait()
    return future.result()


def _waker(call: Callable[[], Any]) -> Callable[[], None]:
    """A function for other threads that has `call` run in this event loop."""
    loop: Any = current_token().native_token
    if not isinstance(loop, asyncio.AbstractEventLoop):
        return lambda: loop.run_sync_soon(call)  # a trio token

    def wake() -> None:
        if not loop.is_closed():  # else nobody waits any more
            loop.call_soon_threadsafe(call)

    return wake
