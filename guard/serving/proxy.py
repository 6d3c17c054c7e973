"""The proxy: protect a request, send it on, and pass the answer back."""

import re
from contextlib import AbstractAsyncContextManager
from typing import Final

import httpx
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from vlmguard.guard.decision import Decision
from vlmguard.guard.defense import Conversation, Target, refusal
from vlmguard.guard.defense.target import Answer
from vlmguard.guard.serving.ascii_json import AsciiJSON
from vlmguard.guard.serving.buffered import Answers, check_choices
from vlmguard.guard.serving.dialects.base import Asked, Dialect
from vlmguard.guard.serving.dialects.parts import ReadsParts
from vlmguard.guard.serving.faults import Fault
from vlmguard.guard.serving.front import note_of
from vlmguard.guard.serving.guarding import Decided, Guard
from vlmguard.guard.serving.recorded import heard_answer
from vlmguard.guard.serving.relay import relayed
from vlmguard.guard.serving.shown import Shown
from vlmguard.guard.serving.told import SHADOW, told
from vlmguard.guard.serving.upstream import Upstream

__all__ = ["Proxy"]

_CHARSET: Final = re.compile(r"charset\s*=\s*[\"']?([^\s;\"']*)")
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
        _check_type(request.headers.getlist("content-type"))
        asked, seen, conversation = await self._read(body, name)
        if self.guard.defense.needs_output:
            return await self._checked(request, asked, seen, conversation)
        target = self._target(request, asked)
        decided = await self.guard.decide(conversation, target)
        if decided.decision.action == "block":
            return self._refused(asked, decided)
        body = self._body(asked, seen, decided.decision, target)
        return await relayed(self._open(request, body), told(self.guard, decided))

    async def _read(self, body: bytes, name: str) -> tuple[Asked, Shown, Conversation]:
        """The request, and what the guard sees of it."""
        asked = self.dialect.read(body)
        key = self.dialect.entries
        entries = asked.value.get(key)
        # System text beside the entries is a message too, and some entries are two.
        alike = isinstance(entries, list) and len(entries) == len(asked.messages)
        seen = await self.guard.shown(asked.messages, key if alike else None)
        return asked, seen, Conversation(seen.messages, name=name, elsewhere=asked.elsewhere)

    async def _shadowed(self, request: Request, body: bytes, name: str) -> Decided:
        """What would have been decided, last: about the request, else about its answer."""
        _check_type(request.headers.getlist("content-type"))
        asked, seen, conversation = await self._read(body, name)
        if not self.guard.defense.needs_output:
            return await self.guard.decide(conversation, self._target(request, asked))
        check_choices(asked)
        answers = self._answers(request, asked, seen)
        target = self._target(request, asked, answers.ask)
        decided = await self.guard.decide(conversation, target)
        if decided.decision.action != "pass":
            # The answer that came is one to another request.
            return decided
        response = await heard_answer()
        decided, _ = await answers.came(conversation, decided, response, target)
        return decided

    def _body(self, asked: Asked, seen: Shown, decision: Decision, target: Target) -> bytes:
        settings = self.guard.defense.answer_settings(decision, target)
        return self.dialect.written(asked, seen.as_sent(decision.messages), settings)

    async def _checked(
        self, request: Request, asked: Asked, seen: Shown, conversation: Conversation
    ) -> Response:
        """The answer behind a defense that looks at answers."""
        check_choices(asked)
        answers = self._answers(request, asked, seen)
        target = self._target(request, asked, answers.ask)
        decided = await self.guard.decide(conversation, target)
        response = None
        if decided.decision.action != "block":
            parts = self.guard.defense.checks_parts and isinstance(self.dialect, ReadsParts)
            if asked.stream and parts:
                note = note_of(request)
                decided, response = await answers.streamed(conversation, decided, target, note)
            else:
                decided, response = await answers.checked(conversation, decided, target)
        if response is None:
            return self._refused(asked, decided)
        response.headers.update(told(self.guard, decided))
        return response

    def _answers(self, request: Request, asked: Asked, seen: Shown) -> Answers:
        return Answers(
            self.guard, self.dialect, asked, seen, lambda body: self._open(request, body, True)
        )

    def _target(self, request: Request, asked: Asked, answer: Answer | None = None) -> Target:
        # Made when it is asked: it takes some milliseconds for each new key of a client.
        return Target(
            lambda: self.upstream.model(asked.model, request.headers), answer, asked.settings
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
        return AsciiJSON(self.dialect.answer(asked, output), headers=told(self.guard, decided))

    def _open(
        self, request: Request, body: bytes, plain: bool = False
    ) -> AbstractAsyncContextManager[httpx.Response]:
        path = self.dialect.path.removeprefix("/v1")
        query = f"?{request.url.query}" if request.url.query else ""
        headers = self.upstream.headers(request.scope["headers"], plain)
        return self.upstream.open("POST", f"{path}{query}", headers, body)


def _check_type(types: list[str]) -> None:
    """Refuse a body that the upstream may read as a form, or in another encoding of characters.

    Raises:
        Fault: It is not sent as JSON in UTF-8.
    """
    for each in types:
        kind, encodings = each.partition(";")[0].lower(), _CHARSET.findall(each.lower())
        if "form" in kind or not {*encodings} <= {"utf-8", "utf8", "us-ascii"}:
            said = "Send JSON in UTF-8, with the header `Content-Type: application/json`."
            raise Fault(415, "content_type", said)
