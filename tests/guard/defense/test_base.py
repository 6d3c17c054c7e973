"""The order of a defense's steps, and what holds for every defense."""

from collections.abc import Callable
from typing import Any

import pytest
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageTool,
    ContentText,
    GenerateConfig,
    ModelOutput,
)
from inspect_ai.tool import ToolCall
from support.scripted import Scripted, picture, user

from vlmguard.guard.cards import Calls, DefenseCard, cards
from vlmguard.guard.decision import Decision, OnFailure, Verdict
from vlmguard.guard.defense import (
    REFUSAL_MESSAGE,
    Answered,
    Conversation,
    Defense,
    Target,
    UnusableReply,
    defense_named,
)
from vlmguard.guard.defense.refusal import is_block
from vlmguard.guard.errors import UserError
from vlmguard.guard.record import DefenseRecord

CALL = ToolCall(id="1", function="look", arguments={})
UNSAFE = Verdict(raw="unsafe", label="unsafe")


class Noting(Defense):
    """A defense that notes its steps, of one conversation."""

    card = DefenseCard("noting", "Noting", "1-A", "", "", Calls(1, 1))
    needs_output = True

    def __init__(
        self,
        on_failure: OnFailure = "original",
        before: Exception | None = None,
        after: Exception | None = None,
        block: bool = False,
    ) -> None:
        self.on_failure = on_failure
        self.faults = {"before": before, "after": after}
        self.block = block
        self.steps: list[str] = []
        self.texts: list[str] = []

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if (fault := self.faults.get(name)) is not None:
            raise fault

    async def ready(self, target: Target | None) -> None:
        self._step("ready")

    def describe(self, record: DefenseRecord, target: Target | None) -> None:
        self._step("describe")
        record.template = "t"

    def answering(self, target: Target) -> GenerateConfig | None:
        self._step("answering")
        return GenerateConfig(max_tokens=7)

    async def before(
        self, conversation: Conversation, record: DefenseRecord, target: Target | None
    ) -> Decision:
        self._step("before")
        if self.block:
            return Decision("block", "", "flagged", verdict=UNSAFE)
        return self.passed(conversation)

    async def after(
        self, answered: Answered, record: DefenseRecord
    ) -> tuple[Decision, ModelOutput]:
        self._step("after")
        self.texts.append(answered.text)
        return answered.decision, answered.output


async def run(
    defense: Noting, *later: ChatMessage, said: str | ModelOutput = "An answer."
) -> tuple[Any, Scripted, DefenseRecord]:
    target, conversation = Scripted(said), Conversation([user("How?", picture()), *later])
    record = defense.new_record(conversation)
    return await defense.run(conversation, Target(target.model), record), target, record


async def test_steps_are_in_order() -> None:
    defense = Noting()
    outcome, target, record = await run(defense)
    assert defense.steps == ["ready", "describe", "before", "answering", "after"]
    assert [call.config.max_tokens for call in target.calls] == [7]
    assert outcome.output.completion == "An answer."
    assert outcome.record is record
    assert (record.defense, record.version, record.original) == ("noting", "1-A", "How?")
    assert (record.action, record.triggered, record.template) == ("pass", False, "t")
    assert [stage.name for stage in record.stages] == ["answer"]


async def test_nothing_is_paid_before_a_missing_role_is_found() -> None:
    class Lacking(Noting):
        async def ready(self, target: Target | None) -> None:
            raise UserError("no guard")

    target = Scripted("An answer.")
    for step in (
        Lacking().run(Conversation([user("How?")]), Target(target.model)),
        Lacking().decide(Conversation([user("How?")])),
    ):
        with pytest.raises(UserError, match="no guard"):
            await step
    assert target.calls == []


async def test_a_block_makes_no_call_and_is_marked() -> None:
    defense = Noting(block=True)
    outcome, target, record = await run(defense)
    assert target.calls == []
    assert outcome.output.completion == REFUSAL_MESSAGE
    assert is_block(outcome.output)
    assert (record.action, record.triggered, record.verdict) == ("block", True, UNSAFE)
    assert "after" not in defense.steps


async def test_a_request_alone_can_be_decided() -> None:
    defense = Noting(block=True)
    assert (await defense.decide(Conversation([user("How?")]))).action == "block"
    assert defense.steps == ["ready", "describe", "before"]


@pytest.mark.parametrize("step", ["before", "after"])
async def test_an_unusable_reply_follows_on_failure(step: str) -> None:
    def broken(on_failure: OnFailure) -> Noting:
        return Noting(on_failure, **{step: UnusableReply("no_verdict", "Hm.")})  # type: ignore[arg-type]

    outcome, target, record = await run(broken("original"))
    assert outcome.output.completion == "An answer."
    assert (record.failure, record.action, record.triggered) == ("no_verdict", "pass", False)
    assert outcome.decision.failure == "no_verdict"

    outcome, target, record = await run(broken("refuse"))
    assert is_block(outcome.output)
    assert (record.failure, record.action, record.triggered) == ("no_verdict", "block", True)
    assert len(target.calls) == (0 if step == "before" else 1)

    with pytest.raises(RuntimeError, match=r"the conversation: no_verdict: 'Hm\.'"):
        await run(broken("raise"))


async def test_after_an_error_the_record_is_kept() -> None:
    conversation, target = Conversation([user("How?")]), Scripted("An answer.")
    defense = Noting(after=RuntimeError("server down"))
    record = defense.new_record(conversation)
    with pytest.raises(RuntimeError, match="server down"):
        await defense.run(conversation, Target(target.model), record)
    assert [stage.name for stage in record.stages] == ["answer"]


def tool_call() -> ModelOutput:
    output = ModelOutput.from_content("m", "Let me look.", "tool_calls")
    output.choices[0].message.tool_calls = [CALL]
    return output


@pytest.mark.parametrize(
    ("said", "skipped", "failure"),
    [
        (tool_call, "tool_call", None),
        (lambda: ModelOutput.from_content("m", ""), "", "no_answer"),
        (lambda: ModelOutput.from_content("m", "", "content_filter"), "", None),
        (lambda: ModelOutput.from_content("m", [ContentText(text="No.", refusal=True)]), "", None),
    ],
)
async def test_what_is_no_answer_is_not_looked_at(
    said: Callable[[], ModelOutput], skipped: str, failure: str | None
) -> None:
    defense = Noting()
    outcome, _, record = await run(defense, said=said())
    assert "after" not in defense.steps
    assert (record.skipped, record.failure, record.action) == (skipped, failure, "pass")
    assert outcome.output.stop_reason == said().stop_reason


async def test_after_a_tools_result_the_answer_alone_is_looked_at() -> None:
    later = [
        ChatMessageAssistant(content="", tool_calls=[CALL]),
        ChatMessageTool(content="Nothing.", tool_call_id="1"),
    ]
    defense = Noting()
    await run(defense, *later)
    assert defense.steps == ["ready", "describe", "answering", "after"]
    deaf = Noting()
    deaf.needs_output = False
    _, target, record = await run(deaf, *later)
    assert deaf.steps == ["ready", "describe", "answering"]
    assert record.skipped == "tool_turn"
    assert target.calls[0].roles == ["user", "assistant", "tool"]


async def test_an_answer_is_looked_at_behind_its_prefill() -> None:
    defense = Noting()
    outcome, _, _ = await run(defense, ChatMessageAssistant(content="Sure,"), said=" take it.")
    assert defense.texts == ["Sure, take it."]
    assert "before" in defense.steps
    assert outcome.output.completion == " take it."


def test_every_defense_is_found_by_its_name() -> None:
    for name in cards().defenses:
        assert defense_named(name).card.name == name
    with pytest.raises(UserError, match="Did you mean ecso"):
        defense_named("esco")
