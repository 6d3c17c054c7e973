"""One request, answered without a guard and behind it: what `vlmguard try` and the page show."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

from inspect_ai.model import Model, ModelOutput

from vlmguard.guard.defense import Conversation, Outcome, Target
from vlmguard.guard.outside import asking
from vlmguard.guard.text.outputs import Output, read_output

__all__ = ["Compared", "compare", "described"]

_WHY: Final = {
    "blocked_by_defense": "blocked by the guard",
    "content_filter": "stopped by the provider's filter",
    "refusal_part": "marked as a refusal by the model",
    "empty": "no answer",
    "only_thinking": "no answer, thinking alone",
    "token_limit": "no answer within the token limit",
    "context_length": "no answer: the request is too long",
    "max_tokens": "cut off at the token limit",
    "model_length": "cut off: the context is full",
}


_DID: Final = {
    "pass": "passes the request as it is",
    "rewrite": "sends another request",
    "block": "blocks the request",
    "regenerate": "puts another answer in its place",
}


@dataclass(frozen=True)
class Compared:
    """What came of a request, twice.

    Attributes:
        request: The request.
        action: What the guard decided: `pass`, `rewrite`, `block` or `regenerate`.
        reasoning: The guard's own words about it; empty if it says nothing.
        sent: The request as the model got it behind the guard; empty if it was blocked.
        failure: Why the guard's reply could not be used; empty if it could.
        undefended: The answer without a guard.
        guarded: The answer behind it.
        calls: Calls of models besides the model's own answer.
        seconds: The time of these calls; None if no provider reports it.
    """

    request: str
    action: str
    reasoning: str
    sent: str
    failure: str
    undefended: Output
    guarded: Output
    calls: int
    seconds: float | None

    @property
    def did(self) -> str:
        """What the guard did, as a predicate."""
        if self.failure:
            return f"could not be used ({self.failure}), and {_DID[self.action]}"
        return _DID[self.action]

    @property
    def cost(self) -> str:
        """What it cost besides the model's own answer."""
        calls = f"{self.calls} call{'s' if self.calls != 1 else ''}"
        return calls if self.seconds is None else f"{calls}, {self.seconds:.1f} s"


async def compare(
    conversation: Conversation,
    target: Target,
    roles: Mapping[str, Model],
    guarded: Callable[[], Coroutine[Any, Any, Outcome]],
) -> Compared:
    """Answer a request without a guard and behind it, at the same time.

    Args:
        conversation: The request.
        target: The model.
        roles: The models that the guard asks, by role.
        guarded: Answers behind the guard.
    """

    async def plain() -> ModelOutput:
        with asking(roles):
            return await target(list(conversation.messages))

    async def behind() -> Outcome:
        with asking(roles):
            return await guarded()

    return _compared(conversation, *await asyncio.gather(plain(), behind()))


def described(output: Output) -> str:
    """A remark on an answer that is none, or not a whole one; empty for others."""
    return _WHY.get(output.reason, "")


def _compared(conversation: Conversation, plain: ModelOutput, outcome: Outcome) -> Compared:
    decision, record = outcome.decision, outcome.record
    asked = [stage for stage in record.stages if stage.name != "answer"]
    times = [stage.seconds for stage in asked if stage.seconds is not None]
    verdict = decision.verdict or record.verdict
    said = "" if verdict is None else ", ".join([verdict.label or "unread", *verdict.categories])
    return Compared(
        request=conversation.text,
        action=decision.action,
        reasoning=str(record.notes.get("reasoning") or decision.hazard or said),
        sent="" if decision.action == "block" else Conversation(decision.messages).text,
        failure=decision.failure or record.failure or "",
        undefended=read_output(plain),
        guarded=read_output(outcome.output),
        calls=sum(stage.calls for stage in asked),
        seconds=sum(times) if times else None,
    )
