"""The hook of a LiteLLM gateway: its Generic Guardrail API, `/beta/litellm_basic_guardrail_api`.

The gateway shows each request before its model gets it (`input_type: request`), and with
`mode: post_call` each answer (`response`). What is decided goes back as an action:

| decision | answer |
|---|---|
| pass, nothing to protect | `NONE`, and no texts: the gateway puts texts in place even then |
| rewrite | `GUARDRAIL_INTERVENED`, with all `structured_messages`, of which one turn changed |
| block, of a request or an answer | `BLOCKED`: the gateway's client gets a 400 |
| an image that may not be used | `BLOCKED`, with the reason |
| another answer | `GUARDRAIL_INTERVENED`, with `texts` |
| a guard that cannot decide | 503, or `NONE` with `--on-failure original` |

503 and not 500, since the operator's own `unreachable_fallback: fail_open` covers 502 to 504 alone.

Texts are never edited by their place in `texts`: the last may be a tool's result or the system
text. Where a gateway shows no `structured_messages` (an endpoint without a conversation), `texts`
and `images` are taken for one user turn; a rewrite can be put back if there is a single text, and
is otherwise the failure `no_place`.

An answer comes without its request, under the same `litellm_call_id`: see `calls`. One of another
worker, of a restart, of a request that the gateway did not show (an image alone), or under an id
that two requests had, is the failure `unknown_call`. Several texts in one answer are the failure
`several_answers`; tool calls pass, as everywhere.

`additional_provider_specific_params` are not read: a gateway's client may add to them, and nothing
of a client's may weaken the guard.
"""

import asyncio
import hashlib
import logging
import re
from typing import Any, Final

from inspect_ai.model import (
    ChatMessage,
    ChatMessageUser,
    Content,
    ContentImage,
    ContentText,
    GenerateConfig,
    Model,
    ModelAPI,
    ModelOutput,
)
from inspect_ai.tool import ToolChoice, ToolInfo
from starlette.requests import Request
from starlette.responses import Response

from vlmguard.guard.decision import Decision
from vlmguard.guard.defense import Conversation, Target
from vlmguard.guard.messages import images_of
from vlmguard.guard.serving.ascii_json import AsciiJSON
from vlmguard.guard.serving.calls import Calls, Kept
from vlmguard.guard.serving.dialects.base import parsed_object
from vlmguard.guard.serving.dialects.chat import PARTS, chat_messages, rendered
from vlmguard.guard.serving.dialects.splicing import with_messages
from vlmguard.guard.serving.faults import Fault, guard_unavailable
from vlmguard.guard.serving.front import note_of
from vlmguard.guard.serving.guarding import Decided, Guard
from vlmguard.guard.serving.json_text import members
from vlmguard.guard.serving.recorded import decline
from vlmguard.guard.serving.recording import declined
from vlmguard.guard.serving.told import SHADOW, told

__all__ = ["GATEWAY_PATH", "TESTED_LITELLM", "Gateway", "gateway_lacks"]

GATEWAY_PATH: Final = "/beta/litellm_basic_guardrail_api"

TESTED_LITELLM: Final = "1.110"
"""The version of the gateway whose requests were recorded, and are tested with."""

BLOCKED_REQUEST: Final = "The guard refused this request."
BLOCKED_ANSWER: Final = "The guard refused the answer to this request."

_LOG: Final = logging.getLogger(__name__)
_VERSION: Final = re.compile(r"\d{1,4}\.\d{1,4}")
_MESSAGES: Final = "structured_messages"


def gateway_lacks(guard: Guard) -> str:
    """Why the guard cannot serve a gateway, which shows it requests and answers but no model.

    Returns:
        A sentence; empty if it can.
    """
    settings, card = guard.settings, guard.defense.card
    if guard.defense.needs_output and settings.workers > 1:
        return (
            f"{card.name} checks answers, which may come to another worker than their requests. "
            "Serve with --workers 1 (behind several servers, route by litellm_call_id), or use "
            "the class inside the gateway, vlmguard.integrations.litellm."
        )
    bound = set(settings.roles)
    lacking = card.lacks(settings.options, bound, "gateway/model")
    if lacking:
        return f"{card.name}: {'; '.join(lacking)}."
    if guard.asks_target:
        return (
            f"{card.name} asks the model itself, which a gateway does not let it do. Give its "
            "questions to other models (--model-role), or use the proxy."
        )
    if guard.defense.answering(Target(_ABSENT)) is not None:
        return f"{card.name} sets the length of answers, which a gateway does not let it do."
    return ""


class Gateway:
    """Decides about what a gateway shows.

    Args:
        guard: The guard.
    """

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.calls = Calls()
        self._deciding: dict[str, asyncio.Event] = {}
        """In shadow mode: calls whose request is still decided about; an answer may be there."""
        self._warned: set[str] = set()

    async def __call__(self, request: Request) -> Response:
        """Answer the gateway.

        Raises:
            Fault: It is no request of a gateway, or the guard cannot decide.
        """
        body, name = await request.body(), note_of(request).name
        if self.guard.settings.shadow:
            return self._shadowed(body, name)
        text, shown = parsed_object(body)
        self._check_version(shown.get("litellm_version"))
        kind = shown.get("input_type")
        if kind == "request":
            return await self._request(text, shown, name)
        if kind == "response":
            return await self._response(shown)
        raise Fault(400, "invalid_type", "input_type: request or response is needed.", "input_type")

    async def _request(self, text: str, shown: dict[str, Any], name: str) -> Response:
        messages, key = _conversation(shown)
        structured = key == _MESSAGES
        try:
            seen = await self.guard.shown(messages, key)
        except Fault as fault:
            self.guard.metrics.told(fault.code)
            said = {"action": "BLOCKED", "blocked_reason": fault.message}
            return AsciiJSON(said, headers={"x-vlmguard-action": "block"})
        conversation = Conversation(seen.messages, name=name)
        decided = await self.guard.decide(conversation, None)
        decision = decided.decision
        if decision.action == "block":
            return self._told({"action": "BLOCKED", "blocked_reason": BLOCKED_REQUEST}, decided)
        if decision.settings is not None:
            raise Fault(501, "not_served", "This guard sets how its model answers.")
        self._keep(text, shown, conversation, decided)
        if decision.action == "pass":
            return self._told({"action": "NONE"}, decided)
        if not structured:
            if len(_texts(shown)) != 1:
                return self._unable("no_place")
            one = {"action": "GUARDRAIL_INTERVENED", "texts": [decision.request]}
            return self._told(one, decided)
        new = seen.as_sent(decision.messages)
        changed = with_messages(text, _MESSAGES, messages, new, PARTS, rendered)
        place = members(changed)[_MESSAGES]
        rows = changed[place.start : place.end]
        body = f'{{"action": "GUARDRAIL_INTERVENED", "{_MESSAGES}": {rows}}}'
        return Response(
            body.encode(), media_type="application/json", headers=told(self.guard, decided)
        )

    def _keep(
        self, text: str, shown: dict[str, Any], conversation: Conversation, decided: Decided
    ) -> None:
        """Remember a request until its answer comes, if that is checked."""
        if not self.guard.defense.needs_output:
            return
        structured = shown.get(_MESSAGES) not in (None, [])
        place = members(text)[_MESSAGES] if structured else None
        rows = text[place.start : place.end] if place else repr(shown.get("texts"))
        digest = hashlib.sha256(rows.encode("utf-8", "backslashreplace")).hexdigest()
        size = len(rows) + sum(map(len, images_of(conversation.messages)))
        kept = Kept(conversation, decided.decision, decided.record, digest, size)
        self.calls.keep(_call(shown), kept)

    async def _response(self, shown: dict[str, Any]) -> Response:
        texts = _texts(shown)
        kept = self.calls.find(_call(shown))
        if not self.guard.defense.needs_output or not texts or shown.get("tool_calls"):
            return _none("skipped")
        if kept is None or len(texts) > 1:
            return self._unable(_reason(kept))
        decided, output = await self._checked(kept, shown, texts[0])
        if output.completion == texts[0]:
            return self._told({"action": "NONE"}, decided)
        if decided.decision.action == "block":
            return self._told({"action": "BLOCKED", "blocked_reason": BLOCKED_ANSWER}, decided)
        said = {"action": "GUARDRAIL_INTERVENED", "texts": [output.completion]}
        return self._told(said, decided)

    def _shadowed(self, body: bytes, name: str) -> Response:
        """Nothing is refused, whatever the body is; its faults are counted."""
        try:
            kind = parsed_object(body)[1].get("input_type")
        except Fault:
            kind = "unknown"
        if kind != "response":
            self.guard.watch(name, lambda: self._watched(body, name))
        elif self.guard.defense.needs_output:
            self.guard.watch(name, lambda: self._watched_answer(body))
        return AsciiJSON({"action": "NONE"}, headers=SHADOW)

    async def _watched(self, body: bytes, name: str) -> Decided:
        text, shown = parsed_object(body)
        self._check_version(shown.get("litellm_version"))
        messages, key = _conversation(shown)
        call, done = _call(shown), asyncio.Event()
        self._deciding[call] = done
        try:
            seen = await self.guard.shown(messages, key)
            conversation = Conversation(seen.messages, name=name)
            decided = await self.guard.decide(conversation, None)
            self._keep(text, shown, conversation, decided)
            return decided
        except Fault:
            # It would have been refused, so that no answer is one to it.
            unseen = Conversation(messages, name=name)
            record = self.guard.defense.new_record(unseen)
            self._keep(text, shown, unseen, Decided(Decision("block", ""), record, 0.0, "block"))
            raise
        finally:
            done.set()
            if self._deciding.get(call) is done:
                del self._deciding[call]

    async def _watched_answer(self, body: bytes) -> Decided | None:
        _, shown = parsed_object(body)
        call, texts = _call(shown), _texts(shown)
        if call in self._deciding:
            await self._deciding[call].wait()
        kept = self.calls.find(call)
        if not texts or shown.get("tool_calls"):
            return None
        if kept is None or len(texts) > 1:
            raise Fault(503, _reason(kept), "This answer cannot be judged.")
        if kept.decision.action != "pass":
            # The model would have got another request, or none; that was counted.
            return None
        return (await self._checked(kept, shown, texts[0]))[0]

    async def _checked(
        self, kept: Kept, shown: dict[str, Any], text: str
    ) -> tuple[Decided, ModelOutput]:
        output = ModelOutput.from_content(str(shown.get("model") or ""), text)
        decided = Decided(kept.decision, kept.record, 0.0, "pass")
        return await self.guard.check(kept.conversation, decided, output, Target(_ABSENT))

    def _unable(self, reason: str) -> Response:
        """Follow the server's rule where nothing can be decided, or nothing put back."""
        self.guard.metrics.decided(0.0, reason)
        if self.guard.settings.on_failure == "refuse":
            raise guard_unavailable(reason)
        return _none("error-open")

    def _told(self, said: dict[str, Any], decided: Decided) -> Response:
        return AsciiJSON(said, headers=told(self.guard, decided))

    def _check_version(self, said: Any) -> None:
        """Warn once of each other version: what it sends and applies was not tried."""
        match = _VERSION.match(said) if isinstance(said, str) else None
        version = match[0] if match else "unknown"
        if version != TESTED_LITELLM and version not in self._warned and len(self._warned) < 100:
            self._warned.add(version)
            _LOG.warning(
                "The gateway is LiteLLM %s; tested with %s. Try a rewrite and a block first.",
                version,
                TESTED_LITELLM,
            )


class _Absent(ModelAPI):
    """The gateway's model, which cannot be asked."""

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        raise RuntimeError("a gateway's model cannot be asked")


_ABSENT: Final = Model(_Absent("gateway"), GenerateConfig())


def _none(told: str) -> Response:
    return AsciiJSON({"action": "NONE"}, headers={"x-vlmguard-action": told})


def _conversation(shown: dict[str, Any]) -> tuple[list[ChatMessage], str]:
    """The messages of a request, and the key that they stand under."""
    headers = shown.get("request_headers")
    if isinstance(headers, dict) and declined(headers):
        decline()
    if shown.get(_MESSAGES) not in (None, []):
        return chat_messages(shown[_MESSAGES]), _MESSAGES
    return _one_turn(shown), "images"


def _reason(kept: Kept | None) -> str:
    """Why an answer cannot be judged."""
    return "unknown_call" if kept is None else "several_answers"


def _call(shown: dict[str, Any]) -> str:
    call = shown.get("litellm_call_id")
    return call if isinstance(call, str) else ""


def _texts(shown: dict[str, Any]) -> list[str]:
    texts = shown.get("texts")
    if texts is None:
        return []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Fault(400, "invalid_texts", "texts: a list of texts is needed.", "texts")
    return texts


def _one_turn(shown: dict[str, Any]) -> list[ChatMessage]:
    """All that is there, as one user turn."""
    images = shown.get("images") or []
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise Fault(400, "invalid_images", "images: a list of addresses is needed.", "images")
    parts: list[Content] = [ContentImage(image=image) for image in images]
    return [ChatMessageUser(content=[*parts, *(ContentText(text=each) for each in _texts(shown))])]
