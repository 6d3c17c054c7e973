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
from collections.abc import Callable
from contextlib import suppress

import torch

from vlmguard.guard.hf_vlm.checkpoint_key import PromptSettings
from vlmguard.guard.hf_vlm.errors import portable
from vlmguard.guard.hf_vlm.messages import Conversation
from vlmguard.guard.hf_vlm.prepared import Prepared
from vlmguard.guard.hf_vlm.processor import PromptMaker
from vlmguard.guard.hf_vlm.wire import receive, send

logger = logging.getLogger(__name__)


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
        self._free: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
        ends: list[socket.socket] = []
        for _ in range(count):
            ours, theirs = socket.socketpair()
            if os.fork() == 0:
                for each in (*inherited, *ends, ours):
                    each.close()
                _serve(theirs, maker)
            theirs.close()
            ends.append(ours)
            self._free.put(ours)
        self._left = count

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
        """
        while self._left:
            sock = self._free.get()
            try:
                send(sock, pickle.dumps((settings, conversation), pickle.HIGHEST_PROTOCOL))
                reply = pickle.loads(receive(sock))
            except (OSError, EOFError):
                self._left -= 1
                logger.warning("A process that prepares images was killed; %d left.", self._left)
                continue
            self._free.put(sock)
            if isinstance(reply, BaseException):
                raise reply
            prepared, arrays = reply
            prepared.inputs = {name: torch.from_numpy(value) for name, value in arrays.items()}
            result: Prepared = prepared
            return result
        return maker.prepare(conversation)


def _serve(sock: socket.socket, maker: Callable[[PromptSettings], PromptMaker]) -> None:
    """Prepare until the engine process is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    with suppress(EOFError, OSError):
        while True:
            settings, conversation = pickle.loads(receive(sock))
            send(sock, pickle.dumps(_reply(maker, settings, conversation), 5))
    os._exit(0)


def _reply(
    maker: Callable[[PromptSettings], PromptMaker],
    settings: PromptSettings,
    conversation: Conversation,
) -> object:
    try:
        prepared = maker(settings).prepare(conversation)
    except Exception as error:
        return portable(error)
    # As arrays, whose bytes are copied once; a tensor brings a format of its own.
    arrays = {name: value.numpy() for name, value in prepared.inputs.items()}
    prepared.inputs = {}
    return prepared, arrays
