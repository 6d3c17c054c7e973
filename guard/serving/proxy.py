"""The proxy: protect a request, send it on, and pass the answer back."""

import json
import time
from collections.abc import AsyncIterator
from typing import Final
from uuid import uuid4

import httpx
from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from vlmguard.guard.decision import Decision
from vlmguard.guard.defense import Conversation, Target, refusal
from vlmguard.guard.serving.dialects.base import Asked, Dialect
from vlmguard.guard.serving.faults import Fault
from vlmguard.guard.serving.guarding import Decided, Guard
from vlmguard.guard.serving.shown import Shown
from vlmguard.guard.serving.upstream import Upstream, end_to_end

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
        asked = self.dialect.read(await request.body())
        name = f"request {uuid4().hex}"
        try:
            seen = await self.guard.shown(asked.messages, self.dialect.entries)
        except Fault as fault:
            if not self.guard.settings.shadow:
                raise
            unseen = self.guard.unseen(Conversation(asked.messages, name=name), fault.code)
            return await self._relayed(request, asked, asked.body, unseen)
        conversation = Conversation(seen.messages, name=name)
        if self.guard.defense.needs_output and not self.guard.settings.shadow:
            return await self._checked(request, asked, seen, conversation)
        target = Target(self.upstream.model(asked.model, request.headers))
        decided = await self.guard.decide(conversation, target)
        if self.guard.settings.shadow:
            return await self._relayed(request, asked, asked.body, decided)
        if decided.decision.action == "block":
            return self._refused(asked, decided)
        body = self._body(asked, seen, decided.decision, target)
        return await self._relayed(request, asked, body, decided)

    def _body(self, asked: Asked, seen: Shown, decision: Decision, target: Target) -> bytes:
        settings = self.guard.defense.answering(target)
        if decision.settings is not None:
            settings = (settings or GenerateConfig()).merge(decision.settings)
        return self.dialect.written(asked, seen.as_sent(decision.messages), settings)

    async def _checked(
        self, request: Request, asked: Asked, seen: Shown, conversation: Conversation
    ) -> Response:
        """The answer, whole, behind a defense that looks at answers."""
        came: dict[int, tuple[bytes, list[tuple[str, str]]]] = {}

        async def answer(messages: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
            # TODO(k2): ask without `stream`, refuse n > 1, upstream errors
            body = self.dialect.written(asked, seen.as_sent(messages), config)
            async with self._open(request, body) as response:
                raw = await response.aread()
            output = self.dialect.output(json.loads(raw))
            came[id(output)] = (raw, _headers(response))
            return output

        target = Target(self.upstream.model(asked.model, request.headers), answer)
        began = time.perf_counter()
        outcome = await self.guard.run(conversation, target)
        decided = self.guard.checked(outcome.decision, outcome.record, time.perf_counter() - began)
        if id(outcome.output) in came:
            raw, headers = came[id(outcome.output)]
            return Response(raw, headers={**dict(headers), **self._told(decided)})
        return JSONResponse(self.dialect.answer(asked, outcome.output), headers=self._told(decided))

    def _refused(self, asked: Asked, decided: Decided) -> Response:
        output = refusal(asked.model)
        if self.guard.settings.block_status == 400:
            fault = Fault(400, "content_filter", _BLOCKED)
            return JSONResponse(fault.body(), 400, headers=self._told(decided))
        if asked.stream:
            events = self.dialect.events(asked, output)
            return StreamingResponse(
                events, media_type="text/event-stream", headers=self._told(decided)
            )
        return JSONResponse(self.dialect.answer(asked, output), headers=self._told(decided))

    async def _relayed(
        self, request: Request, asked: Asked, body: bytes, decided: Decided
    ) -> Response:
        """The upstream's response, byte by byte as it comes."""
        opened = self._open(request, body)
        response = await opened.__aenter__()

        async def relay() -> AsyncIterator[bytes]:
            # Ends the upstream's answer too if the client leaves.
            try:
                async for piece in response.aiter_raw():
                    yield piece
            finally:
                await opened.__aexit__(None, None, None)

        streamed = StreamingResponse(relay(), response.status_code)
        streamed.raw_headers = [
            (name.encode(), value.encode()) for name, value in _headers(response)
        ]
        streamed.headers.update(self._told(decided))
        return streamed

    def _open(self, request: Request, body: bytes):  # type: ignore[no-untyped-def]
        path = self.dialect.path.removeprefix("/v1")
        query = f"?{request.url.query}" if request.url.query else ""
        headers = self.upstream.headers(request.headers.items())
        return self.upstream.open("POST", f"{path}{query}", headers, body)

    def _told(self, decided: Decided) -> dict[str, str]:
        return {
            "x-vlmguard-action": decided.told,
            "x-vlmguard-version": self.guard.defense.card.version,
            "x-vlmguard-ms": f"{decided.seconds * 1000:.0f}",
        }


def _headers(response: httpx.Response) -> list[tuple[str, str]]:
    return end_to_end(response.headers.multi_items())
