"""The proxy: protect a request, send it on, and pass the answer back."""

import json
import time
from contextlib import AbstractAsyncContextManager
from typing import Final

import httpx
from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from vlmguard.guard.decision import Decision
from vlmguard.guard.defense import Conversation, Target, refusal
from vlmguard.guard.serving.dialects.base import Asked, Dialect
from vlmguard.guard.serving.faults import Fault
from vlmguard.guard.serving.front import note_of
from vlmguard.guard.serving.guarding import Decided, Guard
from vlmguard.guard.serving.relay import relayed
from vlmguard.guard.serving.shown import Shown
from vlmguard.guard.serving.told import SHADOW, told
from vlmguard.guard.serving.upstream import Header, Upstream, of_upstream

__all__ = ["Proxy"]

_BLOCKED: Final = "The guard refused this request."


class Proxy:
    """Protects the requests of one API.

    Args:
        guard: The guard.
        upstream: The model behind it.
        dialect: The API.
    """

    def __init__(self, guard: Guard, upstream: Upstream, dialect: Dialect) -> None:
        self.guard = guard
        self.upstream = upstream
        self.dialect = dialect

    async def __call__(self, request: Request) -> Response:
        """Answer a request.

        Raises:
            Fault: It is not answered.
        """
        body, name = await request.body(), note_of(request).name
        if self.guard.settings.shadow:
            self.guard.watch(name, lambda: self._shadowed(request, body, name))
            return await relayed(self._open(request, body), SHADOW)
        asked, seen, conversation = await self._read(body, name)
        if self.guard.defense.needs_output:
            return await self._checked(request, asked, seen, conversation)
        target = Target(self.upstream.model(asked.model, request.headers))
        decided = await self.guard.decide(conversation, target)
        if decided.decision.action == "block":
            return self._refused(asked, decided)
        body = self._body(asked, seen, decided.decision, target)
        return await relayed(self._open(request, body), told(self.guard, decided))

    async def _read(self, body: bytes, name: str) -> tuple[Asked, Shown, Conversation]:
        """The request, and what the guard sees of it."""
        asked = self.dialect.read(body)
        seen = await self.guard.shown(asked.messages, self.dialect.entries)
        return asked, seen, Conversation(seen.messages, name=name, elsewhere=asked.elsewhere)

    async def _shadowed(self, request: Request, body: bytes, name: str) -> Decided:
        asked, _, conversation = await self._read(body, name)
        target = Target(self.upstream.model(asked.model, request.headers))
        return await self.guard.decide(conversation, target)

    def _body(self, asked: Asked, seen: Shown, decision: Decision, target: Target) -> bytes:
        settings = self.guard.defense.answering(target)
        if decision.settings is not None:
            settings = (settings or GenerateConfig()).merge(decision.settings)
        return self.dialect.written(asked, seen.as_sent(decision.messages), settings)

    async def _checked(
        self, request: Request, asked: Asked, seen: Shown, conversation: Conversation
    ) -> Response:
        """The answer, whole, behind a defense that looks at answers."""
        came: dict[int, tuple[bytes, list[Header]]] = {}

        async def answer(messages: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
            # TODO(k2): ask without `stream`, refuse n > 1, upstream errors
            body = self.dialect.written(asked, seen.as_sent(messages), config)
            async with self._open(request, body) as response:
                raw = await response.aread()
            output = self.dialect.output(json.loads(raw))
            came[id(output)] = (raw, of_upstream(response.headers.raw))
            return output

        target = Target(self.upstream.model(asked.model, request.headers), answer)
        began = time.perf_counter()
        outcome = await self.guard.run(conversation, target)
        seconds = time.perf_counter() - began
        decided = self.guard.checked(outcome.decision, outcome.record, seconds)
        if id(outcome.output) in came:
            raw, headers = came[id(outcome.output)]
            whole = Response(raw)
            whole.raw_headers = headers
            whole.headers.update(told(self.guard, decided))
            return whole
        return JSONResponse(
            self.dialect.answer(asked, outcome.output), headers=told(self.guard, decided)
        )

    def _refused(self, asked: Asked, decided: Decided) -> Response:
        output = refusal(asked.model)
        if self.guard.settings.block_status == 400:
            fault = Fault(400, "content_filter", _BLOCKED, headers=told(self.guard, decided))
            return fault.response(self.dialect.path)
        if asked.stream:
            events = self.dialect.events(asked, output)
            return StreamingResponse(
                events, media_type="text/event-stream", headers=told(self.guard, decided)
            )
        return JSONResponse(self.dialect.answer(asked, output), headers=told(self.guard, decided))

    def _open(self, request: Request, body: bytes) -> AbstractAsyncContextManager[httpx.Response]:
        path = self.dialect.path.removeprefix("/v1")
        query = f"?{request.url.query}" if request.url.query else ""
        headers = self.upstream.headers(request.scope["headers"])
        return self.upstream.open("POST", f"{path}{query}", headers, body)
