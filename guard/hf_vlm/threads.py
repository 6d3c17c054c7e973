"""Lets an event loop (asyncio or trio) wait for the result of a thread."""

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

    Raises:
        Exception: The error that the thread set.
    """
    done = anyio.Event()
    wake = _waker(done.set)
    future.add_done_callback(lambda _: wake())
    await done.wait()
    return future.result()


def _waker(call: Callable[[], Any]) -> Callable[[], None]:
    """A function for other threads that runs `call` in this event loop."""
    loop: Any = current_token().native_token
    is_asyncio = isinstance(loop, asyncio.AbstractEventLoop)
    schedule = loop.call_soon_threadsafe if is_asyncio else loop.run_sync_soon

    def wake() -> None:
        with suppress(RuntimeError):  # the loop has ended, so nothing waits for this
            schedule(call)

    return wake
