"""Models whose weights are in a process of their own, as seen from Inspect's process.

Each set of weights has one engine process, which all its users share. A process that dies answers
all its requests with an error; the next `open` starts another.
"""

import atexit
import itertools
import logging
import os
import pickle
import threading
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import WeakSet, finalize

from inspect_ai.model import ChatMessage, ChatMessageAssistant, GenerateConfig

from vlmguard.guard.hf_vlm.checkpoint_key import WeightsKey
from vlmguard.guard.hf_vlm.launching import (
    POSSIBLE,
    Launcher,
    could_not_start,
    launcher,
    surroundings,
)
from vlmguard.guard.hf_vlm.protocol import (
    Ask,
    Cancel,
    Leave,
    Logged,
    Open,
    Ready,
    Reply,
    Request,
    Start,
)
from vlmguard.guard.hf_vlm.shared import Share, Shared
from vlmguard.guard.hf_vlm.threads import result_of
from vlmguard.guard.hf_vlm.vlm import CLOSED, Answer, User, Vlm
from vlmguard.guard.hf_vlm.wire import Channel, Unread, send

logger = logging.getLogger(__name__)


class EngineProcess:
    """A process with one set of weights.

    Args:
        key: The weights.
        user: Its first user.
        replicas: How many processes share the processor cores.

    Attributes:
        pid: Its process number, once it has started.
    """

    def __init__(self, key: WeightsKey, user: User, replicas: int) -> None:
        self._name = key.checkpoint
        self._ended: str | None = None
        self.pid: int | None = None
        # The garbage collector may end this process, in a thread that holds the lock.
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Future[Any]] = {}
        self._left: deque[int] = deque()
        self._launcher: Launcher = launcher()
        self._number, sock = self._launcher.launch()
        start = Start(
            surroundings(),
            key,
            user.prompts,
            user.max_batch_size,
            user.image_cache_mib,
            replicas,
            logging.getLogger().getEffectiveLevel(),
        )
        with suppress(OSError):  # it is gone, as the channel notices
            send(sock, pickle.dumps(start))
        self._channel = Channel(sock, self._received, self._is_gone, "hf-vlm")
        _alive.add(self)

    @property
    def usable(self) -> bool:
        """Whether it takes requests."""
        return self._ended is None

    def check(self) -> None:
        """Raise a RuntimeError if it takes no more requests."""
        if self._ended is not None:
            raise RuntimeError(self._ended)

    def ask(self, user: int, what: Open | Ask) -> "tuple[int, Future[Any]]":
        """Send a request; returns its number, and what gets its answer."""
        future: Future[Any] = Future()
        with self._lock:
            if self._ended is not None:
                future.set_exception(RuntimeError(self._ended))
                return 0, future
            number = next(self._numbers)
            self._waiting[number] = future
        with suppress(IndexError):  # all are told
            while True:
                self._channel.send(Leave(self._left.popleft()))
        try:
            self._channel.send(Request(number, user, what), number)
        except BaseException:  # what cannot be sent
            self._waiting.pop(number, None)
            raise
        return number, future

    def cancel(self, number: int) -> None:
        """Say that nobody waits for an answer."""
        with self._lock:
            waited = self._waiting.pop(number, None)
        if waited is not None:
            self._channel.send(Cancel(number))

    def leave(self, user: int) -> None:
        """Say that a user is gone, with the next request.

        The garbage collector calls this too, in the middle of a message perhaps.
        """
        self._left.append(user)

    def end(self) -> None:
        """End the process, which frees its memory; waiting requests fail."""
        self._fail(CLOSED)
        self._channel.close()

    def forget(self) -> None:
        """After a fork: leave the process to the parent."""
        self._ended = (
            f"this process is a fork of the one that has the model {self._name}; open the model "
            "here to load it again"
        )
        self._lock = threading.RLock()
        self._waiting.clear()
        self._channel.forget()

    def _received(self, message: object) -> None:
        if isinstance(message, Unread):
            why = f"An answer of the model {self._name} cannot be read here: {message.error}"
            message = Reply(message.about, None, RuntimeError(why))
        if isinstance(message, Ready):
            self.pid = message.pid
        elif isinstance(message, Reply):
            with self._lock:
                future = self._waiting.pop(message.number, None)
            if future is None:
                return  # cancelled meanwhile
            if message.error is not None:
                future.set_exception(message.error)
            else:
                future.set_result(message.result)
        elif isinstance(message, Logged):
            there = logging.getLogger(message.logger)
            if there.isEnabledFor(message.level):
                there.log(message.level, "%s", message.text)

    def _is_gone(self) -> None:
        if self._ended is not None:
            return
        how = self._launcher.how_it_ended(self._number)
        if self.pid is None:
            self._fail(could_not_start(how))
            return
        self._fail(
            f"The process of the model {self._name} {how}. Its requests are lost; the model is "
            "loaded again when it is next opened."
        )

    def _fail(self, why: str) -> None:
        with self._lock:
            self._ended = self._ended or why
            waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            future.set_exception(RuntimeError(why))


_alive: WeakSet[EngineProcess] = WeakSet()
processes: Shared[tuple[WeightsKey, int], EngineProcess] = Shared(
    EngineProcess.end, lambda process: process.usable
)
"""The engine processes, by their weights and the number of the replica."""


class RemoteVlm(Vlm):
    """One user of an engine process.

    Args:
        share: The process.
        user: How it uses the weights.
    """

    _users = itertools.count(1)

    def __init__(self, share: Share[tuple[WeightsKey, int], EngineProcess], user: User) -> None:
        self._process = share.value
        self._user = user
        self._number = next(self._users)
        self._give_back = finalize(self, _give_back, share, self._number)

    def load(self) -> None:
        """Load the weights if they are not loaded; this blocks."""
        _, future = self._process.ask(self._number, Open(self._user))
        future.result()

    def check(self) -> None:
        """Raise a RuntimeError if it takes no more requests."""
        self._process.check()

    async def generate(self, messages: list[ChatMessage], config: GenerateConfig) -> Answer:
        """Answer a conversation."""
        answer: Answer = await self._ask("generate", list(map(_bare, messages)), config)
        return answer

    async def tokenize(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""
        ids: list[int] = await self._ask("tokenize", text)
        return ids

    async def check_size(self, width: int, height: int) -> None:
        """Check that the processor accepts an image of this size, in pixels."""
        await self._ask("check_size", width, height)

    async def check_contrast(self) -> None:
        """Refuse a model whose readings cannot be combined."""
        await self._ask("check_contrast")

    def close(self) -> None:
        """Give the weights back; the last user ends the process."""
        self._give_back()

    async def _ask(self, method: str, *arguments: Any) -> Any:
        number, future = self._process.ask(self._number, Ask(method, arguments))
        try:
            return await result_of(future)
        finally:
            if not future.done():
                self._process.cancel(number)


def shared_apart(key: WeightsKey, user: User, replica: int, replicas: int) -> RemoteVlm:
    """A user of weights in a process of their own, which all users of these weights share.

    Args:
        key: The weights.
        user: How it uses them.
        replica: Number of the replica, where one device has several.
        replicas: How many processes share the processor cores.
    """
    share = processes.take((key, replica), partial(EngineProcess, key, user, replicas))
    return RemoteVlm(share, user)


def _give_back(share: Share[tuple[WeightsKey, int], EngineProcess], user: int) -> None:
    share.value.leave(user)
    processes.give_back(share)


def _bare(message: ChatMessage) -> ChatMessage:
    """What a model reads of a message, without what others have attached to it."""
    told: dict[str, Any] = {"role": message.role, "content": message.content}
    if isinstance(message, ChatMessageAssistant):
        told["tool_calls"] = message.tool_calls
    return message.model_construct(**told)


@atexit.register
def _end_all() -> None:
    for process in list(_alive):
        process.end()


def _forget_all() -> None:
    for process in list(_alive):
        process.forget()
    processes.forget()


if POSSIBLE:
    os.register_at_fork(after_in_child=_forget_all)
