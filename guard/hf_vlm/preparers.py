"""Processes that decode images and make tensors while the engine's own process generates.

Both are for the most part Python, and would wait for each other under one interpreter lock. They
are forks of the engine process, made before it starts a thread, and have its processor.
"""

import logging
import os
import pickle
import queue
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import torch

from vlmguard.guard.hf_vlm.checkpoint_key import PromptSettings
from vlmguard.guard.hf_vlm.errors import portable
from vlmguard.guard.hf_vlm.messages import Conversation
from vlmguard.guard.hf_vlm.prepared import Prepared
from vlmguard.guard.hf_vlm.processor import PromptMaker
from vlmguard.guard.hf_vlm.wire import receive, send

logger = logging.getLogger(__name__)

_TRIES: Final = 2
"""A request that ends this many processes is given up, or it would end all of them."""


class Preparers:
    """Some processes, each of which prepares one request at a time.

    Args:
        count: How many.
        maker: Gives the processor for some settings; kept by each process.
        inherited: Sockets of this process that they must not hold open.
    """

    def __init__(
        self,
        count: int,
        maker: Callable[[PromptSettings], PromptMaker],
        inherited: list[socket.socket],
    ) -> None:
        # None: all are gone.
        self._free: queue.SimpleQueue[socket.socket | None] = queue.SimpleQueue()
        self._left = count
        self._lock = threading.Lock()
        ends: list[socket.socket] = []
        for _ in range(count):
            ours, theirs = socket.socketpair()
            if os.fork() == 0:
                _serve(theirs, maker, [*inherited, *ends, ours])
            theirs.close()
            ends.append(ours)
            self._free.put(ours)

    def prepare(
        self, settings: PromptSettings, maker: PromptMaker, conversation: Conversation
    ) -> Prepared:
        """Prepare a request; this blocks.

        Args:
            settings: How.
            maker: Does it in this process if the others are gone.
            conversation: The request.

        Raises:
            UserError: As for `PromptMaker.prepare`.
            ImageError: Likewise.
            RuntimeError: The processes that tried to were killed.
        """
        request = pickle.dumps((settings, conversation), pickle.HIGHEST_PROTOCOL)
        killed = 0
        while killed < _TRIES:
            sock = self._free.get()
            if sock is None:
                self._free.put(None)  # for the next one
                if not killed:
                    return maker.prepare(conversation)
                break  # what killed the others could kill this process
            try:
                send(sock, request)
            except OSError:  # it was killed before
                self._lose(sock)
                continue
            try:
                data = receive(sock)
            except EOFError:
                self._lose(sock)
                killed += 1
                continue
            self._free.put(sock)
            reply = pickle.loads(data)
            if isinstance(reply, BaseException):
                raise reply
            prepared, arrays = reply
            prepared.inputs = {name: _tensor(value) for name, value in arrays.items()}
            result: Prepared = prepared
            return result
        raise RuntimeError(
            "a process that prepared this request was killed, and another one where there was one: "
            "do its images take more memory than there is?"
        )

    def _lose(self, sock: socket.socket) -> None:
        sock.close()
        with self._lock:
            self._left -= 1
            left = self._left
        logger.warning("A process that prepares images was killed; %d left.", left)
        if not left:
            self._free.put(None)


def _serve(
    sock: socket.socket,
    maker: Callable[[PromptSettings], PromptMaker],
    inherited: list[socket.socket],
) -> None:
    """Prepare until the engine process is gone, and end whatever happens."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for each in inherited:
            each.close()
        torch.set_num_threads(1)
        with suppress(EOFError, OSError):
            while True:
                settings, conversation = pickle.loads(receive(sock))
                send(sock, _reply(maker, settings, conversation))
    except BaseException:
        logger.exception("A process that prepares images failed.")
    finally:
        os._exit(0)


def _reply(
    maker: Callable[[PromptSettings], PromptMaker],
    settings: PromptSettings,
    conversation: Conversation,
) -> bytes:
    try:
        prepared = maker(settings).prepare(conversation)
        arrays = {name: _array(value) for name, value in prepared.inputs.items()}
        prepared.inputs = {}
        return pickle.dumps((prepared, arrays), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:  # a panic of a library in Rust is no Exception
        return pickle.dumps(portable(error))


def _array(value: torch.Tensor) -> Any:
    """An array, whose bytes are copied once; a tensor brings a format of its own."""
    return value if value.dtype == torch.bfloat16 else value.numpy()  # NumPy has no bfloat16


def _tensor(value: Any) -> torch.Tensor:
    return value if isinstance(value, torch.Tensor) else torch.from_numpy(value)
