"""A defense in front of requests: outside of an Inspect run, and within a time."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

from inspect_ai.model import ChatMessage, ModelOutput

from vlmguard.guard.decision import Decision
from vlmguard.guard.defense import Conversation, Defense, Target
from vlmguard.guard.messages import images_of
from vlmguard.guard.outside import asking, made_of
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.roles import load_models
from vlmguard.guard.serving.clock import Clock
from vlmguard.guard.serving.faults import Fault, guard_unavailable
from vlmguard.guard.serving.logs import logged, raised, shadowed
from vlmguard.guard.serving.metrics import Metrics
from vlmguard.guard.serving.recorded import is_declined, note_decision
from vlmguard.guard.serving.settings import Settings
from vlmguard.guard.serving.shown import Shown, shown
from vlmguard.guard.serving.visible import visible

__all__ = ["Decided", "Guard", "Told"]

Told = Literal["pass", "partial", "rewrite", "block", "regenerate", "skipped", "error-open"]
"""What the header `x-vlmguard-action` says; `partial` is a pass of a request with parts that no
defense reads (sound, a file).
"""

_FAILURES: Final = 3
"""So many requests in a row that the guard could not decide about make it not ready."""
_FORGOTTEN: Final = 10.0
"""Seconds after which it counts as ready again: without requests, nobody would ever learn of it."""

_REST: Final = 10.0
"""Seconds that decisions of shadow mode have when the server ends."""


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
        metrics: What counts its decisions; nothing by default.

    Raises:
        UserError: No such defense or option, or a role without a model.
    """

    def __init__(self, settings: Settings, metrics: Metrics | None = None) -> None:
        self.defense: Defense = made_of(
            settings.defense, settings.options, settings.roles, settings.on_failure
        )
        self.settings = settings
        self.metrics = metrics or Metrics()
        self.prepared = False
        """Whether its models were found, and local ones loaded."""
        self._failures = 0
        self._failed_at = 0.0
        self._watching: set[asyncio.Task[None]] = set()

    @property
    def unready(self) -> str:
        """Why it cannot decide, in a word; empty if it can."""
        if not self.prepared:
            return "starting"
        recent = time.monotonic() - self._failed_at < _FORGOTTEN
        return "failing" if self._failures >= _FAILURES and recent else ""

    @cached_property
    def asks_target(self) -> bool:
        """Whether the defense may ask the model itself, beside its answer."""
        card, options = self.defense.card, self.settings.options
        calls = card.calls(options, set(self.settings.roles)).get("target", card.target_calls)
        return calls.most is None or calls.most > 1

    async def prepare(self) -> None:
        """Find its models, and load local ones, before any request.

        Raises:
            UserError: One is missing or unsuitable.
        """
        upstream = self.settings.upstream
        target = Target(upstream.model("", {})) if upstream else None
        with asking(self.settings.roles):
            await self.defense.ready(target)
            if target is not None:
                await load_models(target.model)
        self.prepared = True

    async def shown(self, messages: Sequence[ChatMessage], key: str | None) -> Shown:
        """What the defense sees of a client's messages, see `shown`.

        Raises:
            Fault: An image may not be used.
        """
        return await shown(messages, key, self.settings.images, self.settings.fetcher)

    async def decide(self, conversation: Conversation, target: Target | None) -> Decided:
        """Decide about a request.

        Args:
            conversation: The conversation; its images have been checked (`shown`).
            target: The model behind the guard; None if it is not at hand.

        Raises:
            Fault: The guard cannot decide, and the server refuses then.
        """
        _check_shown(conversation)
        record, began = self.defense.new_record(conversation), time.perf_counter()
        with asking(self.settings.roles):
            try:
                async with asyncio.timeout(self.settings.guard_timeout):
                    decision = await self.defense.decide(conversation, record, target)
            except TimeoutError:
                decision = self._failed(conversation, "guard_timeout")
            except Exception as error:  # whatever a provider raises: the rule for failures decides
                raised(conversation.name, error)
                decision = self._failed(conversation, "guard_error")
        if decision.failure in ("guard_timeout", "guard_error"):
            self._failures, self._failed_at = self._failures + 1, time.monotonic()
        else:
            self._failures = 0
        note_decision(conversation, decision, record)
        seconds = time.perf_counter() - began
        self.metrics.decided(seconds, decision.failure)
        self.metrics.asked(record.stages)
        if self.settings.log_content and not is_declined():
            said = {"asked": conversation.text, "decided": decision.request}
            logged({"request": conversation.name, "action": decision.action, **said})
        return self.checked(decision, record, seconds)

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

    def unable(self, conversation: Conversation, record: DefenseRecord, reason: str) -> Decided:
        """What follows where nothing can be decided.

        Args:
            conversation: The conversation.
            record: What was asked.
            reason: Why, in a word.

        Raises:
            Fault: The server refuses then; in shadow mode always, since the reason is counted.
        """
        self.metrics.decided(0.0, reason)
        if self.settings.shadow:
            raise Fault(503, reason, "Nothing can be decided.")
        return self.checked(self._failed(conversation, reason), record, 0.0)

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
        decision, read = decided.decision, visible(output)
        with asking(self.settings.roles):
            try:
                async with clock:
                    outcome = await self.defense.check(conversation, decision, read, target, record)
                decision = outcome.decision
                output = output if outcome.output is read else outcome.output
            except TimeoutError:
                decision = self._failed(conversation, "guard_timeout")
            except Exception as error:  # as in `decide`
                raised(conversation.name, error)
                decision = self._failed(conversation, "guard_error")
        seconds = time.perf_counter() - began
        failure = decision.failure if decision is not decided.decision else ""
        self.metrics.decided(seconds, failure)
        self.metrics.asked(record.stages[len(decided.record.stages) :])
        return self.checked(decision, record, decided.seconds + seconds), output

    def watch(self, name: str, deciding: Callable[[], Coroutine[Any, Any, Decided | None]]) -> None:
        """Decide in the background, for shadow mode: nothing of it touches the request.

        Args:
            name: What logs call the request.
            deciding: Reads the request, and decides; None if it has been counted before.
        """
        if len(self._watching) >= self.settings.max_concurrent:
            self._would(name, "dropped")
            return
        task = asyncio.create_task(self._watched(name, deciding))
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

    async def rest(self) -> None:
        """Wait for what is decided in the background, but not for long."""
        if self._watching:
            _, late = await asyncio.wait(self._watching, timeout=_REST)
            for task in late:
                task.cancel()

    async def _watched(
        self, name: str, deciding: Callable[[], Coroutine[Any, Any, Decided | None]]
    ) -> None:
        try:
            decided = await deciding()
        except Fault as fault:
            self._would(name, fault.code)
        except Exception as error:  # nobody else would see it
            raised(name, error)
            self._would(name, "error")
        else:
            if decided is None:
                return
            refused = decided.told == "error-open" and decided.decision.action == "block"
            self._would(name, "unavailable" if refused else decided.told)

    def _would(self, name: str, would: str) -> None:
        self.metrics.shadowed(would)
        shadowed(name, would)

    def _failed(self, conversation: Conversation, reason: str) -> Decision:
        refuses = self.settings.on_failure == "refuse"
        return Decision(
            "block" if refuses else "pass",
            "" if refuses else conversation.text,
            reason,
            failure=reason,
            messages=() if refuses else conversation.messages,
        )


def _check_shown(conversation: Conversation) -> None:
    """Refuse a conversation whose images nobody checked: a defense would open the paths in it."""
    if not all(image.startswith("data:image/") for image in images_of(conversation.messages)):
        raise AssertionError("images that were not checked")


def _told(decision: Decision, record: DefenseRecord, failed: bool) -> Told:
    if failed:
        return "error-open"
    if decision.action != "pass":
        return decision.action
    if record.skipped:
        return "skipped"
    unread = any(each.startswith("unread") for each in record.approximations)
    return "partial" if unread else "pass"
