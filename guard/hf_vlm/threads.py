"""Lets an event loop (asyncio or trio) wait for the result of a thread."""

import asyncio
import threading
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


def in_daemon(function: Callable[[], T], name: str) -> "Future[T]":
    """Call a function in a thread that does not hold up the end of this process.

    Args:
        function: The function.
        name: Name of the thread.
    """
    future: Future[T] = Future()

    def work() -> None:
        try:
            result = function()
        except BaseException as error:  # whatever it is, somebody waits for it
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=work, name=name, daemon=True).start()
    return future


def _waker(call: Callable[[], Any]) -> Callable[[], None]:
    """A function for other threads that runs `call` in this event loop."""
    loop: Any = current_token().native_token
    is_asyncio = isinstance(loop, asyncio.AbstractEventLoop)
    schedule = loop.call_soon_threadsafe if is_asyncio else loop.run_sync_soon

    def wake() -> None:
        with suppress(RuntimeError):  # the loop has ended, so nothing waits for this
            schedule(call)

    return wake
