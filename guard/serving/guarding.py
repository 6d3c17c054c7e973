"""A defense in front of requests: outside of an Inspect run, and within a time."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from inspect_ai.model import ChatMessage, ModelOutput

from vlmguard.guard.decision import Decision
from vlmguard.guard.defense import Conversation, Defense, Outcome, Target
from vlmguard.guard.outside import asking, made_of
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.serving.clock import Clock
from vlmguard.guard.serving.faults import guard_unavailable
from vlmguard.guard.serving.settings import Settings
from vlmguard.guard.serving.shown import Shown, shown

__all__ = ["Decided", "Guard", "Told"]

_LOG: Final = logging.getLogger(__name__)

Told = Literal["pass", "rewrite", "block", "regenerate", "skipped", "error-open"]
"""What the header `x-vlmguard-action` says."""


@dataclass(frozen=True)
class Decided:
    """What the guard decided about a request.

    Attributes:
        decision: The decision.
        record: What was asked, and what it cost.
        seconds: How long it took.
        told: What clients and metrics are told.
    """

    decision: Decision
    record: DefenseRecord
    seconds: float
    told: Told


class Guard:
    """A defense with its models.

    Args:
        settings: The server's settings.

    Raises:
        UserError: No such defense or option, or a role without a model.
    """

    def __init__(self, settings: Settings) -> None:
        self.defense: Defense = made_of(
            settings.defense, settings.options, settings.roles, settings.on_failure
        )
        self.settings = settings

    async def shown(self, messages: Sequence[ChatMessage], key: str) -> Shown:
        """What the defense sees of a client's messages, see `shown`.

        Raises:
            Fault: An image may not be used.
        """
        return await shown(messages, key, self.settings.images, self.settings.fetcher)

    def unseen(self, conversation: Conversation, reason: str) -> Decided:
        """What follows if the defense cannot be shown a request, in shadow mode: it passes.

        Args:
            conversation: The conversation, which no defense gets.
            reason: The code of the fault.
        """
        record = self.defense.new_record(conversation)
        return self.checked(self._failed(conversation, reason), record, 0.0)

    async def decide(self, conversation: Conversation, target: Target | None) -> Decided:
        """Decide about a request.

        Args:
            conversation: The conversation; its images have been checked.
            target: The model behind the guard; None if it is not at hand.

        Raises:
            Fault: The guard cannot decide, and the server refuses then.
        """
        record, began = self.defense.new_record(conversation), time.perf_counter()
        with asking(self.settings.roles):
            try:
                async with asyncio.timeout(self.settings.guard_timeout):
                    decision = await self.defense.decide(conversation, record, target)
            except TimeoutError:
                decision = self._failed(conversation, "guard_timeout")
            except Exception as error:  # whatever a provider raises: the rule for failures decides
                # Its message may quote the request.
                _LOG.warning("%s: the guard raised %s", conversation.name, type(error).__name__)
                decision = self._failed(conversation, "guard_error")
        return self.checked(decision, record, time.perf_counter() - began)

    def checked(self, decision: Decision, record: DefenseRecord, seconds: float) -> Decided:
        """What follows from a decision.

        Raises:
            Fault: It is a failure, and the server refuses then.
        """
        # A rewriter that refuses has read the request: its block is a decision.
        failed = bool(decision.failure) and decision.failure != "refused"
        if failed and decision.action == "block" and not self.settings.shadow:
            raise guard_unavailable(decision.failure)
        return Decided(decision, record, seconds, _told(decision, record, failed))

    async def run(self, conversation: Conversation, target: Target) -> Outcome:
        """Protect a conversation and its answer, see `Defense.run`."""
        with asking(self.settings.roles):
            return await self.defense.run(conversation, target)

    async def check(
        self,
        conversation: Conversation,
        decided: Decided,
        output: ModelOutput,
        target: Target,
        clock: Clock | None = None,
    ) -> tuple[Decided, ModelOutput]:
        """Look at an answer, or at its beginning; see `Defense.check`.

        Args:
            conversation: The conversation.
            decided: What was decided about it; its record is left as it is.
            output: The answer.
            target: The model behind the guard.
            clock: The time for it, which the target may stop; by default that of a decision.

        Returns:
            What was decided, and the answer that the user gets.

        Raises:
            Fault: The guard cannot decide, and the server refuses then.
        """
        record, began = decided.record.model_copy(deep=True), time.perf_counter()
        clock = clock or Clock(self.settings.guard_timeout)
        decision = decided.decision
        with asking(self.settings.roles):
            try:
                async with clock:
                    outcome = await self.defense.check(
                        conversation, decision, output, target, record
                    )
                decision, output = outcome.decision, outcome.output
            except TimeoutError:
                decision = self._failed(conversation, "guard_timeout")
            except Exception as error:  # as in `decide`
                _LOG.warning("%s: the guard raised %s", conversation.name, type(error).__name__)
                decision = self._failed(conversation, "guard_error")
        seconds = decided.seconds + time.perf_counter() - began
        return self.checked(decision, record, seconds), output

    def _failed(self, conversation: Conversation, reason: str) -> Decision:
        refuses = self.settings.on_failure == "refuse"
        return Decision(
            "block" if refuses else "pass",
            "" if refuses else conversation.text,
            reason,
            failure=reason,
            messages=() if refuses else conversation.messages,
        )


def _told(decision: Decision, record: DefenseRecord, failed: bool) -> Told:
    if failed:
        return "error-open"
    return "skipped" if record.skipped and decision.action == "pass" else decision.action
