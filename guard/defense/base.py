"""The base of every defense: the order of its steps, and the rules that hold for all of them.

1. Nothing is paid for before all its models are found (`ready`).
2. A request without anything to protect passes (`Conversation.skipped`), but the answer to it is
   checked: after a tool's result too, an answer is what the user gets.
3. `before` decides about the request: pass it, rewrite it, or block it (no call of the target).
4. The target answers.
5. `after` looks at the answer, if the defense needs it: keep it, or put another in its place. A
   missing answer, a refusal that the provider marked and a tool call are not looked at: what an
   agent does by its tools, and submits by one, is not checked. Several answers are an error.
6. A guard's output that cannot be used is neither safe nor unsafe: `on_failure` decides. So it does
   about a turn of documents, audio or video alone, which no defense reads (`unread_content`);
   beside a text or an image, such parts are noted as an approximation (`unread: document`), as are
   turns that only a server has (`unread: previous_response_id`).
"""

from abc import ABC
from dataclasses import dataclass, replace
from typing import ClassVar

from inspect_ai.model import ChatMessageSystem, GenerateConfig, ModelOutput, model_roles

from vlmguard.guard.cards import DefenseCard
from vlmguard.guard.decision import Decision, OnFailure
from vlmguard.guard.defense.conversation import Conversation
from vlmguard.guard.defense.refusal import refusal
from vlmguard.guard.defense.target import Target
from vlmguard.guard.errors import UserError
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.roles import load_models, one_model
from vlmguard.guard.text.outputs import read_output

__all__ = ["Answered", "Defense", "Outcome", "UnusableReply"]


class UnusableReply(Exception):
    """An auxiliary model's reply that is not in the requested form.

    Args:
        reason: The fault, in one or two words (`no_grade`).
        reply: The reply.
    """

    def __init__(self, reason: str, reply: str) -> None:
        super().__init__(f"{reason}: {reply[:200]!r}")
        self.reason = reason

    @property
    def outcome(self) -> str:
        """The kind of the reply in a record: `refused` or `unusable`."""
        return "refused" if self.reason == "refused" else "unusable"


@dataclass(frozen=True)
class Answered:
    """An answer to check.

    Attributes:
        conversation: What the user sent.
        decision: What the target got instead.
        output: The target's answer.
        text: Its text without thinking, behind the prefill if there is one; never empty.
        target: The target.
    """

    conversation: Conversation
    decision: Decision
    output: ModelOutput
    text: str
    target: Target


@dataclass(frozen=True)
class Outcome:
    """What came of a conversation.

    Attributes:
        decision: What was decided, last.
        output: What the user gets.
        record: Every call, and what came of it.
    """

    decision: Decision
    output: ModelOutput
    record: DefenseRecord


class Defense(ABC):
    """A defense; subclasses say what they do before or after the target's answer.

    One object serves many conversations at once, so it keeps nothing of any.

    Attributes:
        card: Its card.
        on_failure: What is done if a guard's output cannot be used.
        needs_output: Whether it checks answers, so that none can be streamed before it is whole.
        checks_parts: Whether it can also check the beginning of an answer, and only ever keeps or
            refuses it, so that a stream goes on behind what it has checked.
        content: Identity of what it read beside the files that its options name, as the images of a
            pool; empty without any. Cached answers and unfinished runs belong to one.
    """

    card: ClassVar[DefenseCard]
    on_failure: OnFailure = "original"
    needs_output: bool = False
    checks_parts: bool = False
    content: str = ""

    async def decide(
        self,
        conversation: Conversation,
        record: DefenseRecord | None = None,
        target: Target | None = None,
    ) -> Decision:
        """Decide about a request, before any answer.

        Args:
            conversation: The conversation.
            record: Where calls are noted; a new record by default.
            target: The target, for defenses that ask it before its answer; None if it is not at
                hand.

        Raises:
            RuntimeError: A guard's output cannot be used, and `on_failure` is `raise`.
            UserError: A model that it needs is missing.
        """
        record = record if record is not None else self.new_record(conversation)
        await self._found(target)
        self.describe(record, target)
        return await self._decide(conversation, record, target)

    async def run(
        self, conversation: Conversation, target: Target, record: DefenseRecord | None = None
    ) -> Outcome:
        """Protect a conversation, and let the target answer it.

        Args:
            conversation: The conversation.
            target: The target.
            record: Where calls are noted, so that those before an error are kept too; a new
                record by default.

        Raises:
            RuntimeError: A guard's output cannot be used, and `on_failure` is `raise`.
            UserError: A model that it needs is missing.
        """
        record = record if record is not None else self.new_record(conversation)
        await self._found(target)
        self.describe(record, target)
        await load_models(target.model)
        decision = await self._decide(conversation, record, target)
        if decision.action == "block":
            return Outcome(decision, refusal(target.name), record)
        own = self.answer_settings(decision, target)
        if own is None or own.num_choices is None:
            self.check_choices(target.config.num_choices)
        output = await target(list(decision.messages), own)
        record.add_call("answer", output, "target")
        if own is None or own.num_choices is None:
            self.check_choices(len(output.choices))
        return await self.check(conversation, decision, output, target, record)

    def answer_settings(self, decision: Decision, target: Target) -> GenerateConfig | None:
        """Settings of the target's answer that override those of the request; None for none."""
        own = self.answering(target)
        if decision.settings is not None:
            own = (own or GenerateConfig()).merge(decision.settings)
        return own

    async def check(
        self,
        conversation: Conversation,
        decision: Decision,
        output: ModelOutput,
        target: Target,
        record: DefenseRecord,
    ) -> Outcome:
        """Look at an answer: the last step of a run, for callers that ask the target themselves.

        Args:
            conversation: The conversation.
            decision: What was decided about it; not a block.
            output: The target's answer, one; or its beginning, if the defense `checks_parts`.
            target: The target.
            record: The record of the decision.

        Raises:
            RuntimeError: A guard's output cannot be used, and `on_failure` is `raise`.
        """
        if not self.needs_output:
            return Outcome(decision, output, record)
        if output.choices and output.message.tool_calls:
            record.skipped = "tool_call"
            return Outcome(decision, output, record)
        said = read_output(output)
        if not said.is_answer:
            if said.kind == "no_answer":
                record.failure = "no_answer"
            return Outcome(decision, output, record)
        record.skipped = ""
        answered = Answered(
            conversation, decision, output, conversation.prefill + said.text, target
        )
        try:
            decision, output = await self.after(answered, record)
        except UnusableReply as unusable:
            decision = self._failed(conversation, decision, record, unusable)
            if decision.action == "block":
                output = refusal(target.name)
        self._note(record, decision)
        return Outcome(decision, output, record)

    def check_choices(self, count: int | None) -> None:
        """Refuse several answers to one request, of which only the first would be checked.

        Args:
            count: Number of answers that the request asks for, or that came.

        Raises:
            UserError: There are several, and the defense checks answers.
        """
        if self.needs_output and (count or 1) > 1:
            raise UserError(
                f"{self.card.name} checks one answer to a request, and num_choices asks for "
                f"{count}. Leave num_choices out; --epochs {count} gives as many answers."
            )

    def new_record(self, conversation: Conversation) -> DefenseRecord:
        """An empty record of a conversation."""
        record = DefenseRecord(defense=self.card.name, version=self.card.version)
        record.original = conversation.text
        return record

    async def ready(self, target: Target | None) -> None:
        """Find the models of all roles, and load checkpoints, before anything is paid for.

        Args:
            target: The target; None if only a request is to be decided.

        Raises:
            UserError: One is missing or unsuitable.
        """
        return

    def describe(self, record: DefenseRecord, target: Target | None) -> None:
        """Note what holds for every conversation: the templates, and `approximations`.

        Args:
            record: The record.
            target: As for `ready`.
        """
        return

    def answering(self, target: Target) -> GenerateConfig | None:
        """Settings of the target's answer that override those of the request."""
        return None

    async def before(
        self, conversation: Conversation, record: DefenseRecord, target: Target | None
    ) -> Decision:
        """Decide about the request; passes it by default.

        Args:
            conversation: The conversation; it has something to protect.
            record: Where calls are noted.
            target: The target, for questions before its answer; None if it is not at hand.

        Raises:
            UnusableReply: A guard's output cannot be used.
        """
        return self.passed(conversation)

    async def after(
        self, answered: Answered, record: DefenseRecord
    ) -> tuple[Decision, ModelOutput]:
        """Decide about the answer; keeps it by default.

        Returns:
            The decision, and what the user gets.

        Raises:
            UnusableReply: A guard's output cannot be used.
        """
        return answered.decision, answered.output

    @staticmethod
    def passed(conversation: Conversation, reason: str = "") -> Decision:
        """The decision to pass a request on as it is."""
        return Decision("pass", conversation.text, reason, messages=conversation.messages)

    async def _found(self, target: Target | None) -> None:
        for role in self.card.roles:
            if role.name in model_roles():
                one_model(role.name)
        await self.ready(target)

    async def _decide(
        self, conversation: Conversation, record: DefenseRecord, target: Target | None
    ) -> Decision:
        record.skipped = conversation.skipped
        if record.skipped:
            decision = self.passed(conversation, record.skipped)
        else:
            unread = ", ".join([*conversation.unread, *conversation.elsewhere])
            if unread:
                record.approximations = [*record.approximations, f"unread: {unread}"]
            try:
                if not conversation.readable:
                    raise UnusableReply("unread_content", unread)
                decision = await self.before(conversation, record, target)
            except UnusableReply as unusable:
                passed = self.passed(conversation)
                decision = self._failed(conversation, passed, record, unusable)
        given = {turn.text for turn in conversation.messages if isinstance(turn, ChatMessageSystem)}
        record.added = "\n\n".join(
            turn.text
            for turn in decision.messages
            if isinstance(turn, ChatMessageSystem) and turn.text not in given
        )
        self._note(record, decision)
        return decision

    def _failed(
        self,
        conversation: Conversation,
        decision: Decision,
        record: DefenseRecord,
        unusable: UnusableReply,
    ) -> Decision:
        """Go on without the guard's output, as the user chose."""
        record.failure = unusable.reason
        if self.on_failure == "raise":
            raise RuntimeError(f"{conversation.name}: {unusable}") from unusable
        decision = replace(decision, reason=unusable.reason, failure=unusable.reason)
        if self.on_failure == "refuse":
            return replace(decision, action="block", request="", messages=())
        return decision

    @staticmethod
    def _note(record: DefenseRecord, decision: Decision) -> None:
        record.action = decision.action
        record.triggered = decision.action != "pass"
        if decision.verdict is not None:
            record.verdict = decision.verdict
