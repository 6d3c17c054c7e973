"""The guard around the model of a LangChain agent, as one of its middlewares.

    from langchain.agents import create_agent
    from vlmguard.integrations.langchain import RewriteMiddleware

    guard = RewriteMiddleware(models={"rewriter": "openai/gpt-4o-mini"}, on_failure="refuse")
    agent = create_agent("openai:gpt-4o", tools, middleware=[guard])

The model gets the rewritten request; the stored history keeps the user's. A blocked request is
answered with the refusal, and the model is not asked. Turns after a tool's result are left alone.
A defense that asks the guarded model itself asks the agent's, by the agent's client.

Answers are checked if the defense does that. Then no token of them is streamed: with
`stream_mode="messages"` the checked answer comes whole.

A file's path is never opened, and `https:` images are refused, as by the server: `GuardRefused`. So
does a guard that cannot decide, with `on_failure="refuse"`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from inspect_ai.model import GenerateConfig
from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    SystemMessage,
    convert_to_messages,
    convert_to_openai_messages,
)

from vlmguard.guard.defense import REFUSAL_MESSAGE, Conversation, Target
from vlmguard.guard.serving.dialects.chat import CHAT, SETTINGS
from vlmguard.guard.serving.faults import Fault
from vlmguard.guard.serving.guarding import Decided
from vlmguard.guard.serving.settings import OnServerFailure
from vlmguard.integrations.behind import Complete, model_behind
from vlmguard.integrations.configured import guard_of
from vlmguard.integrations.langchain_messages import History
from vlmguard.integrations.own_loop import OwnLoop

__all__ = ["GuardRefused", "RewriteMiddleware"]

# What all of LangChain's models take.
_STANDARD: Final = ("temperature", "max_tokens", "stop")
_UNSTREAMED: Final = "nostream"
"""LangGraph's tag for models whose tokens are not streamed."""


class GuardRefused(Exception):
    """The guard cannot decide, or may not look at an image.

    Args:
        code: A word for programs: `guard_unavailable`, `image_scheme`.
        message: A sentence for people; nothing of a request's content.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class _Held:
    """A request with what was decided about it."""

    conversation: Conversation
    decided: Decided
    target: Target
    request: ModelRequest[Any]


class RewriteMiddleware(AgentMiddleware[Any, Any, Any]):
    """A defense around the model of an agent.

    Args:
        defense: Name of the defense.
        options: Its options.
        models: The models that it asks, by role: a name of Inspect's, a mapping with `model`,
            `model_args` and settings, a model of Inspect's, or one of LangChain's.
        on_failure: What is done if the guard cannot decide: `original`, or `refuse`.
        timeout: Seconds that it has for one request.

    Raises:
        UserError: One of these is wrong or missing.
    """

    def __init__(
        self,
        defense: str = "vlmguard",
        *,
        options: Mapping[str, Any] | None = None,
        models: Mapping[str, Any] | None = None,
        on_failure: OnServerFailure | None = None,
        timeout: float = 30.0,
    ) -> None:
        super().__init__()
        given = {
            role: _wrapped(model) if isinstance(model, BaseChatModel) else model
            for role, model in (models or {}).items()
        }
        self._guard = guard_of(defense, options, given, on_failure, timeout)
        self._loop = OwnLoop()

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | AIMessage:
        """Guard a call of the model.

        Raises:
            GuardRefused: The guard cannot decide, or may not look at an image.
        """
        held = self._loop.submit(self._decide(request)).result()
        if held.decided.decision.action == "block":
            return AIMessage(REFUSAL_MESSAGE)
        response = handler(held.request)
        if not self._guard.defense.needs_output:
            return response
        return self._loop.submit(self._check(held, response)).result()

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any] | AIMessage:
        """Guard a call of the model.

        Raises:
            GuardRefused: The guard cannot decide, or may not look at an image.
        """
        held = await asyncio.wrap_future(self._loop.submit(self._decide(request)))
        if held.decided.decision.action == "block":
            return AIMessage(REFUSAL_MESSAGE)
        response = await handler(held.request)
        if not self._guard.defense.needs_output:
            return response
        return await asyncio.wrap_future(self._loop.submit(self._check(held, response)))

    async def _decide(self, request: ModelRequest[Any]) -> _Held:
        system = [] if request.system_message is None else [request.system_message]
        try:
            history = History([*system, *request.messages])
            seen = await self._guard.shown(history.messages, "messages")
            conversation = Conversation(seen.messages, name=f"request {uuid4().hex}")
            target = Target(_wrapped(request.model))
            decided = await self._guard.decide(conversation, target)
        except Fault as fault:
            raise GuardRefused(fault.code, fault.message) from None
        decision = decided.decision
        if decision.action == "block":
            return _Held(conversation, decided, target, request)
        settings = self._guard.defense.answer_settings(decision, target)
        written = history.written(seen.as_sent(decision.messages))
        changed = _overridden(request, written, settings)
        if self._guard.defense.needs_output:
            tags = [*(request.model.tags or []), _UNSTREAMED]
            changed = changed.override(model=request.model.model_copy(update={"tags": tags}))
        return _Held(conversation, decided, target, changed)

    async def _check(
        self, held: _Held, response: ModelResponse[Any]
    ) -> ModelResponse[Any] | AIMessage:
        answer = next((each for each in response.result if isinstance(each, AIMessage)), None)
        if answer is None:
            return response
        output = CHAT.output(_body(answer))
        try:
            _, final = await self._guard.check(held.conversation, held.decided, output, held.target)
        except Fault as fault:
            raise GuardRefused(fault.code, fault.message) from None
        return response if final is output else AIMessage(final.completion)


def _overridden(
    request: ModelRequest[Any], messages: list[BaseMessage], settings: GenerateConfig | None
) -> ModelRequest[Any]:
    """A request with other messages, of which a first system message has its own place."""
    head = messages[0] if messages and isinstance(messages[0], SystemMessage) else None
    given = settings.model_dump(exclude_none=True) if settings is not None else {}
    named = {field: given[name] for name, field in SETTINGS.items() if name in given}
    return request.override(
        system_message=head,
        messages=messages if head is None else messages[1:],
        model_settings={**request.model_settings, **named},
    )


def _wrapped(model: BaseChatModel) -> Any:
    """A model of LangChain's for a defense's questions."""
    return model_behind(type(model).__name__, _asked_by(model))


def _asked_by(model: BaseChatModel) -> Complete:
    async def complete(body: dict[str, Any]) -> dict[str, Any]:
        settings = {name: body[name] for name in _STANDARD if name in body}
        messages = convert_to_messages(body["messages"])
        # Its asynchronous client may belong to another loop.
        return _body(await asyncio.to_thread(model.invoke, messages, **settings))

    return complete


def _body(answer: AIMessage) -> dict[str, Any]:
    """An answer as the body of a chat completion."""
    reason = answer.response_metadata.get("finish_reason") or "stop"
    message = convert_to_openai_messages([answer])[0]
    return {"choices": [{"message": message, "finish_reason": reason}]}
