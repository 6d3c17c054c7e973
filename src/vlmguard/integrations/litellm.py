"""The guard in the process of a LiteLLM gateway, as one of its custom guardrails.

    guardrails:
      - guardrail_name: vlmguard
        litellm_params:
          guardrail: vlmguard.integrations.litellm.VLMGuardrail
          mode: pre_call                           # [pre_call, post_call] to check answers
          default_on: true
          on_failure: refuse
          defense: vlmguard
          models: {rewriter: openai/gpt-4o-mini}   # Inspect's names; keys as in Inspect
          options: {}                              # of the defense
          timeout: 30                              # seconds that the guard has for one request
          block_status: 200                        # a normal completion, or 400

It sees what the gateway's HTTP hook never shows: a request of images alone, and the request to an
answer. `during_call` can only block: there, what would be rewritten is refused.

Endpoints without a dialect of ours that ask a model for text follow `on_failure`: with `refuse`
they get 501. Embeddings, images, speech and the rest pass.
"""

import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any, Final, Literal
from uuid import uuid4
from weakref import WeakKeyDictionary

import litellm
from fastapi import HTTPException
from inspect_ai.model import ModelOutput
from litellm.integrations.custom_guardrail import CustomGuardrail
from litellm.proxy._types import UserAPIKeyAuth
from litellm.proxy.guardrails.guardrail_initializers import configured_event_hooks
from litellm.types.guardrails import LitellmParams
from pydantic import BaseModel

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.defense import REFUSAL_MESSAGE, Conversation, Target, refusal
from vlmguard.guard.errors import UserError
from vlmguard.guard.serving.buffered import check_choices
from vlmguard.guard.serving.dialects.base import Asked
from vlmguard.guard.serving.dialects.chat import CHAT
from vlmguard.guard.serving.faults import Fault, guard_unavailable
from vlmguard.guard.serving.gateway import BLOCKED_ANSWER, BLOCKED_REQUEST
from vlmguard.guard.serving.guarding import Decided, Guard
from vlmguard.guard.serving.settings import OnServerFailure
from vlmguard.guard.serving.shown import Shown
from vlmguard.guard.serving.streaming import Checks
from vlmguard.integrations.behind import model_behind
from vlmguard.integrations.configured import guard_of
from vlmguard.integrations.litellm_data import DIALECTS, UNREAD, Guarded, changes, read
from vlmguard.integrations.litellm_streams import Chunks

__all__ = ["Misconfigured", "VLMGuardrail"]

_LOG: Final = logging.getLogger(__name__)


class Misconfigured(RuntimeError):
    """The gateway's configuration of the guard is wrong.

    LiteLLM leaves a guardrail out that raises ValueError or TypeError, and starts without it. This
    one stops its start.
    """


@dataclass(frozen=True)
class _Held:
    """A request that waits for its answer."""

    asked: Asked
    dialect: Guarded
    conversation: Conversation
    decided: Decided
    target: Target


class VLMGuardrail(CustomGuardrail):
    """A defense as a guardrail.

    Args:
        guardrail_name: Its name in the gateway.
        event_hook: The gateway's `mode`.
        default_on: Whether it guards all requests.
        defense: Name of the defense.
        options: Its options.
        models: The models that it asks, by role: a name of Inspect's, or a mapping with `model`,
            `model_args` and settings.
        on_failure: What is done if the guard cannot decide: `original` or `refuse` (503).
        block_status: Whether a blocked request gets a normal completion (200) or an error (400).
        timeout: Seconds that the guard has for one request.
        **others: LiteLLM's own parameters.

    Raises:
        Misconfigured: One of these is wrong or missing.
    """

    def __init__(
        self,
        guardrail_name: str | None = None,
        event_hook: Any = None,
        default_on: bool = False,
        *,
        defense: str = "vlmguard",
        options: Mapping[str, Any] | None = None,
        models: Mapping[str, Any] | None = None,
        on_failure: OnServerFailure | None = None,
        block_status: Literal[200, 400] = 200,
        timeout: float = 30.0,
        **others: Any,
    ) -> None:
        try:
            _check_names(others)
            self.guard = guard_of(defense, options, models, on_failure, timeout, block_status)
            _check_modes(self.guard, event_hook)
        except (UserError, ValueError, TypeError) as error:
            raise Misconfigured(f"guardrail {guardrail_name}: {error}") from error
        # The gateway's object of a request lives as long as the request.
        self._held: WeakKeyDictionary[Any, _Held] = WeakKeyDictionary()
        super().__init__(
            guardrail_name=guardrail_name, event_hook=event_hook, default_on=default_on, **others
        )

    async def async_pre_call_hook(
        self, user_api_key_dict: UserAPIKeyAuth, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any] | None:
        """Decide about a request; None leaves it as it is.

        Raises:
            HTTPException: It is refused, or cannot be guarded.
            ModifyResponseException: It is answered with the refusal.
        """
        with _answered():
            dialect = self._dialect(call_type)
            if dialect is None:
                return None
            held, seen = await self._decided(data, dialect)
            decision = held.decided.decision
            if decision.action == "block":
                self._block(data)
            self._hold(data, held)
            settings = self.guard.defense.answer_settings(decision, held.target)
            body = dialect.written(held.asked, seen.as_sent(decision.messages), settings)
            return {**data, **changes(held.asked, body)}

    async def async_moderation_hook(
        self, data: dict[str, Any], user_api_key_dict: UserAPIKeyAuth, call_type: str
    ) -> None:
        """Decide beside the model's call: whatever is not passed is refused.

        Raises:
            HTTPException: It is refused, or cannot be guarded.
            ModifyResponseException: It is answered with the refusal.
        """
        with _answered():
            dialect = self._dialect(call_type)
            if dialect is None:
                return
            held, _ = await self._decided(data, dialect)
            if held.decided.decision.action != "pass":
                self._block(data)
            self._hold(data, held)

    async def async_post_call_success_hook(
        self, data: dict[str, Any], user_api_key_dict: UserAPIKeyAuth, response: Any
    ) -> Any:
        """Look at an answer, if the defense does.

        Raises:
            HTTPException: It is refused, or cannot be guarded.
            ModifyResponseException: The refusal stands in its place.
        """
        if not self.guard.defense.needs_output:
            return response
        with _answered():
            body = response.model_dump() if isinstance(response, BaseModel) else response
            held = self._held_for(data, body)
            final = await self._checked(held, body) if held else None
            if held is None or final is None:
                return response
            answer = held.dialect.answer(held.asked, final)
            return type(response)(**answer)

    async def async_post_call_streaming_iterator_hook(
        self, user_api_key_dict: UserAPIKeyAuth, response: Any, request_data: dict[str, Any]
    ) -> AsyncIterator[Any]:
        """Look at a streamed answer, part by part or when it is whole, if the defense does.

        Raises:
            HTTPException: It is refused, or cannot be guarded.
        """
        held, chunks = self._held_by(request_data), Chunks(response)
        if not self.guard.defense.needs_output:
            stream = response
        elif held is not None and self.guard.defense.checks_parts:
            stream = self._parts(held, chunks)
        else:
            stream = self._whole(request_data, chunks)
        with _answered():
            async for chunk in stream:
                yield chunk

    async def _parts(self, held: _Held, chunks: Chunks) -> AsyncIterator[Any]:
        checks = Checks(
            self.guard, held.dialect, held.asked, held.conversation, held.decided, held.target
        )
        sent = False
        async for piece in checks.pieces(chunks):
            for chunk in chunks.own(piece):
                sent = True
                yield chunk
        if checks.decided.decision.action == "block" and not sent:
            if self.guard.settings.block_status == 400:
                raise Fault(400, "content_filter", BLOCKED_ANSWER)
            for event in held.dialect.events(held.asked, refusal(held.asked.model)):
                for chunk in chunks.own(event):
                    yield chunk

    async def _whole(self, data: dict[str, Any], chunks: Chunks) -> AsyncIterator[Any]:
        events, held = await chunks.data(), self._held_by(data)
        try:
            body = (held.dialect if held else CHAT).streamed(events)
        except ValueError:
            body = {}
        held = self._held_for(data, body)
        final = await self._checked(held, body) if held else None
        if held is None or final is None:
            for chunk in chunks.all():
                yield chunk
            return
        for event in held.dialect.events(held.asked, final):
            for chunk in chunks.own(event):
                yield chunk

    def _dialect(self, call_type: str) -> Guarded | None:
        """How a call's request is read; None if there is nothing to guard.

        Raises:
            Fault: It asks a model for text, and nobody can read how.
        """
        dialect = DIALECTS.get(call_type)
        if call_type not in UNREAD:
            return dialect
        if self.guard.settings.on_failure == "refuse":
            raise Fault(501, "not_guarded", f"The guard cannot read this endpoint ({call_type}).")
        _LOG.warning("a request passed unguarded: %s has no dialect", call_type)
        return None

    async def _decided(self, data: Mapping[str, Any], dialect: Guarded) -> tuple[_Held, Shown]:
        asked = read(dialect, data)
        if self.guard.defense.needs_output:
            check_choices(asked)
        seen = await self.guard.shown(asked.messages, dialect.entries)
        conversation = Conversation(seen.messages, name=f"request {uuid4().hex}")
        target = Target(model_behind(asked.model, _complete, asked.value))
        decided = await self.guard.decide(conversation, target)
        return _Held(asked, dialect, conversation, decided, target), seen

    async def _checked(self, held: _Held, body: Mapping[str, Any]) -> ModelOutput | None:
        """The answer in the place of one; None if that stays.

        Raises:
            Fault: The guard cannot decide, and refuses then; or it blocks by an error.
        """
        try:
            output = held.dialect.output(dict(body))
        except ValueError:
            self.guard.unable(held.conversation, held.decided.record, "unreadable_answer")
            return None
        decided, final = await self.guard.check(
            held.conversation, held.decided, output, held.target
        )
        if decided.decision.action == "block" and self.guard.settings.block_status == 400:
            raise Fault(400, "content_filter", BLOCKED_ANSWER)
        return None if final is output else final

    def _block(self, data: dict[str, Any]) -> None:
        """End a request.

        Raises:
            Fault: By an error.
            ModifyResponseException: By a normal completion.
        """
        if self.guard.settings.block_status == 400:
            raise Fault(400, "content_filter", BLOCKED_REQUEST)
        self.raise_passthrough_exception(REFUSAL_MESSAGE, data)

    def _hold(self, data: Mapping[str, Any], held: _Held) -> None:
        if self.guard.defense.needs_output:
            self._held[data["litellm_logging_obj"]] = held

    def _held_by(self, data: Mapping[str, Any]) -> _Held | None:
        call = data.get("litellm_logging_obj")
        return self._held.get(call) if call is not None else None

    def _held_for(self, data: Mapping[str, Any], body: Mapping[str, Any]) -> _Held | None:
        """The request of an answer; None if the answer is our refusal, or may pass without it.

        Raises:
            Fault: It is unknown, and the guard refuses then.
        """
        held = self._held_by(data)
        if held is not None or _refuses(body):
            return held
        if self.guard.settings.on_failure == "refuse":
            raise guard_unavailable("unknown_call")
        _LOG.warning("an answer passed unchecked: its request is unknown")
        return None


def _refuses(body: Mapping[str, Any]) -> bool:
    """Whether a chat completion is our refusal and nothing else, as the gateway streams it."""
    try:
        return CHAT.output(dict(body)).completion.strip() == REFUSAL_MESSAGE
    except ValueError:
        return False


@contextmanager
def _answered() -> Iterator[None]:
    """Lets the gateway answer what is refused.

    Raises:
        HTTPException: In the place of a fault.
    """
    try:
        yield
    except Fault as fault:
        said = {"error": fault.message, "code": fault.code, "param": fault.param}
        raise HTTPException(fault.status, said, fault.headers) from None
    except UserError as error:
        raise HTTPException(400, {"error": str(error)}) from None


async def _complete(body: dict[str, Any]) -> dict[str, Any]:
    """Ask a model of the gateway, without its guardrails."""
    # Set when the gateway has read its models.
    from litellm.proxy.proxy_server import llm_router

    ask = litellm.acompletion if llm_router is None else llm_router.acompletion
    answered: dict[str, Any] = (await ask(**body)).model_dump()
    return answered


def _check_names(others: Mapping[str, Any]) -> None:
    known = {*LitellmParams.model_fields, *signature(CustomGuardrail).parameters}
    for name in others:
        if name not in known:
            ours = ("defense", "options", "models", "on_failure", "block_status", "timeout")
            raise UserError(f"{name}: there is no such parameter.{did_you_mean(name, ours)}")


def _check_modes(guard: Guard, event_hook: Any) -> None:
    """Refuse modes in which the defense would not do its work."""
    modes = [str(each) for each in configured_event_hooks(event_hook)]
    if not {"pre_call", "during_call"} & set(modes):
        raise UserError("mode: pre_call is needed, where requests are decided about.")
    if guard.defense.needs_output and "post_call" not in modes:
        name = guard.defense.card.name
        raise UserError(f"mode: {name} checks answers; give [pre_call, post_call].")
