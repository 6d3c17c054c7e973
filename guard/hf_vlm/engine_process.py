"""The process that holds one set of weights: answers requests that come over a socket.

It begins as a fork without threads. So it loads the processor, forks the processes that prepare
requests (`preparers`), and only then starts threads and loads weights. It ends at once when its
user is gone, in the middle of a batch too.
"""

import asyncio
import faulthandler
import logging
import os
import pickle
import socket
import sys
from contextlib import suppress
from typing import Any, Final

import torch

from vlmguard.guard.hf_vlm.checkpoint_key import cuda_devices_here
from vlmguard.guard.hf_vlm.engine import Engine
from vlmguard.guard.hf_vlm.errors import portable
from vlmguard.guard.hf_vlm.loading import Weights
from vlmguard.guard.hf_vlm.local import LocalVlm
from vlmguard.guard.hf_vlm.preparers import Preparers
from vlmguard.guard.hf_vlm.protocol import (
    Cancel,
    CountDevices,
    Leave,
    Logged,
    Open,
    Ready,
    Reply,
    Request,
    Start,
    Surroundings,
)
from vlmguard.guard.hf_vlm.wire import Channel, Unread, receive, send

_MOST_PREPARERS: Final = 8

_THREADS: Final = torch.get_num_threads()
"""Before a fork: in a fork, PyTorch goes back to one."""


def main(sock: socket.socket) -> None:
    """Serve until the other side of the socket is gone.

    Args:
        sock: The first message says what to do.
    """
    try:
        begin = pickle.loads(receive(sock))
    except EOFError:
        return
    if isinstance(begin, CountDevices):
        _take_over(begin.surroundings)
        with suppress(OSError):
            send(sock, pickle.dumps(cuda_devices_here()))
    elif isinstance(begin, Start):
        faulthandler.enable(2)
        _take_over(begin.surroundings)
        engine = _engine(begin, sock)
        asyncio.run(_Served(engine, begin.level).until_the_end(sock))


def _take_over(surroundings: Surroundings) -> None:
    os.environ.clear()
    os.environ.update(surroundings.environment)
    with suppress(OSError):  # gone, or not for us: paths are absolute
        os.chdir(surroundings.folder)


def _engine(start: Start, sock: socket.socket) -> Engine:
    threads = max(1, _THREADS // start.replicas)
    # Processes are the parallelism here; and the tokenizers' own threads would not either.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # What is computed in this thread starts no helpers of its own, see `Batcher.call`; and a fork
    # does not get along with helpers.
    torch.set_num_threads(1)
    weights = Weights(start.key)
    preparers = None
    if sys.platform == "linux":
        with suppress(Exception):  # `load` says what is wrong
            weights.prompt_maker(start.prompts)
            cores = len(os.sched_getaffinity(0)) // start.replicas
            count = max(1, min(_MOST_PREPARERS, cores))
            preparers = Preparers(count, weights.prompt_maker, [sock])
    torch.set_num_threads(threads)
    return Engine(weights, start.max_batch_size, start.image_cache_mib, preparers)


class _Served:
    """The users of the engine, and the requests that are being answered."""

    def __init__(self, engine: Engine, level: int) -> None:
        self._engine = engine
        self._level = level
        self._users: dict[int, LocalVlm] = {}
        self._running: dict[int, asyncio.Task[None]] = {}

    async def until_the_end(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()

        def received(message: object) -> None:
            loop.call_soon_threadsafe(self._received, message)

        self._channel = Channel(
            sock,
            received=received,
            # At once: a thread in the middle of a batch would hold up any other end.
            ended=lambda: os._exit(0),
            name="hf-vlm",
        )
        self._channel.send(Ready(os.getpid()))
        root = logging.getLogger()
        root.setLevel(self._level)
        root.addHandler(_Forwarding(self._channel))
        await asyncio.Event().wait()

    def _received(self, message: object) -> None:
        if isinstance(message, Request):
            number = message.number
            task = self._running[number] = asyncio.create_task(self._answer(message))
            task.add_done_callback(lambda _: self._running.pop(number, None))
        elif isinstance(message, Cancel):
            if message.number in self._running:
                self._running[message.number].cancel()
        elif isinstance(message, Leave):
            self._users.pop(message.user, None)
        elif isinstance(message, Unread):
            self._reply(message.about, None, message.error)

    async def _answer(self, request: Request) -> None:
        try:
            self._reply(request.number, await self._result(request))
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # a panic of a library in Rust is no Exception
            self._reply(request.number, None, error)

    def _reply(self, number: int, result: object, error: BaseException | None = None) -> None:
        reply = Reply(number, result, None if error is None else portable(error))
        self._channel.send(reply, number)

    async def _result(self, request: Request) -> Any:
        what = request.what
        if isinstance(what, Open):
            self._engine.narrow(what.user.max_batch_size, what.user.image_cache_mib)
            vlm = LocalVlm(self._engine, what.user, lambda: None)
            await asyncio.to_thread(vlm.load)
            self._users[request.user] = vlm
            return None
        return await _METHODS[what.method](self._users[request.user], *what.arguments)


_METHODS: Final[dict[str, Any]] = {
    each.__name__: each
    for each in (
        LocalVlm.check_contrast,
        LocalVlm.check_size,
        LocalVlm.generate,
        LocalVlm.tokenize,
    )
}


class _Forwarding(logging.Handler):
    """Sends log messages to Inspect's process."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        """Send one, with its traceback as text."""
        text = self.format(record)
        self._channel.send(Logged(record.name, record.levelno, text))
