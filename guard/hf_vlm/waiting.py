"""Wait in an event loop (asyncio or trio) for what a thread does."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
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
        return _trio_waker(loop, call)

    def wake() -> None:
        if not loop.is_closed():  # else nobody waits any more
            loop.call_soon_threadsafe(call)

    return wake


def _trio_waker(token: Any, call: Callable[[], Any]) -> Callable[[], None]:
    import trio  # is there, since its event loop runs

    def wake() -> None:
        with suppress(trio.RunFinishedError):  # nobody waits any more
            token.run_sync_soon(call)

    return wake
