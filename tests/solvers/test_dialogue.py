"""Dialogues: real history, what is left out and kept, and turns without an answer."""

from typing import Any

import pytest
from inspect_ai.dataset import Sample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ContentText,
    ModelOutput,
)
from inspect_ai.solver import SolverSpec
from support.guarded import guarded_model
from support.scripted import Call, Scripted, choices, picture, run_solver, user

from vlmguard.guard.defense.refusal import REFUSAL_MESSAGE, is_block, refusal
from vlmguard.guard.dialogue import NO_ANSWER, answers_of, steps_of
from vlmguard.guard.record import DefenseRecord, tally


def counted(call: Call) -> str:
    return f"Answer {call.roles.count('user')}."


def heard(call: Call) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in call.messages]


def replay(turns: list[ChatMessage] | str, target: Scripted, **options: Any) -> Any:
    log = run_solver(SolverSpec("dialogue"), Sample(id="s/1", input=turns), target, **options)
    assert log.samples is not None
    return log, log.samples[0]


@pytest.mark.parametrize("name", ["dialogue", "vlmguard/dialogue"])
def test_each_user_turn_is_answered_after_the_real_answers(name: str) -> None:
    target = Scripted(counted)
    turns: list[ChatMessage] = [
        ChatMessageSystem(content="Be brief."),
        user("What is this?", picture()),
        ChatMessageAssistant(content="Another model's words."),
        user("Is it ripe?"),
        ChatMessageAssistant(content="Its last words."),
    ]
    log = run_solver(SolverSpec(name), Sample(id="s/1", input=turns), target)
    assert log.status == "success", log.error
    assert [heard(call) for call in target.calls] == [
        [("system", "Be brief."), ("user", "What is this?")],
        [
            ("system", "Be brief."),
            ("user", "What is this?"),
            ("assistant", "Answer 1."),
            ("user", "Is it ripe?"),
        ],
    ]
    assert [len(call.images) for call in target.calls] == [1, 1]
    (sample,) = log.samples or []
    assert [message.text for message in sample.messages] == [
        *("Be brief.", "What is this?", "Answer 1.", "Is it ripe?", "Answer 2.")
    ]
    assert sample.output.completion == "Answer 2."
    assert [each.completion for each in answers_of(sample)] == ["Answer 1.", "Answer 2."]


def test_system_turns_and_a_greeting_keep_their_places() -> None:
    turns: list[ChatMessage] = [
        ChatMessageAssistant(content="Hello."),
        user("One"),
        ChatMessageSystem(content="Of one."),
        ChatMessageAssistant(content="Left out."),
        ChatMessageSystem(content="Of two."),
        user("Two"),
        user("Three"),
        ChatMessageSystem(content="Last."),
    ]
    assert [[message.text for message in step] for step in steps_of(turns)] == [
        ["Hello.", "One", "Of one."],
        ["Of two.", "Two"],
        ["Three", "Last."],
    ]
    assert [[each.text for each in step] for step in steps_of("One")] == [["One"]]
    assert [[each.text for each in step] for step in steps_of(turns[:1])] == [["Hello."]]


def marked(text: str) -> ModelOutput:
    """A refusal in a part of its own."""
    output = choices(text)
    output.message.content = [ContentText(text=text, refusal=True)]
    return output


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        (choices(""), NO_ANSWER),
        (choices("<think>Hm.</think>"), NO_ANSWER),
        (choices(("Blocked by policy 7.", "content_filter")), NO_ANSWER),
        (
            choices(("Too many tokens.", "model_length")).model_copy(update={"error": "long"}),
            NO_ANSWER,
        ),
        (choices(("It is a", "max_tokens")), "It is a"),
        (marked("I will not."), "I will not."),
        (refusal("target"), REFUSAL_MESSAGE),
    ],
)
def test_a_dialogue_goes_on_after_any_output(output: ModelOutput, shown: str) -> None:
    target = Scripted(lambda call: output if call.roles.count("user") == 1 else "Done.")
    log, sample = replay([user("One"), user("Two")], target)
    assert log.status == "success", log.error
    assert heard(target.calls[1]) == [("user", "One"), ("assistant", shown), ("user", "Two")]
    first, last = answers_of(sample)
    assert (first.completion, first.stop_reason) == (output.completion, output.stop_reason)
    assert first.metadata == output.metadata
    assert last.completion == sample.output.completion == "Done."


def test_an_error_at_a_turn_is_an_error_of_the_sample() -> None:
    log, sample = replay([user("One"), user("Two")], Scripted(RuntimeError("no route")))
    assert log.status == "error"
    assert sample.error is not None


def test_a_turn_that_a_limit_cuts_has_no_answer() -> None:
    target = Scripted(counted)
    turns: list[ChatMessage] = [user("One"), user("Two"), user("Three")]
    log, sample = replay(turns, target, message_limit=4)
    assert log.status == "success", log.error
    assert sample.limit is not None
    assert [each.completion for each in answers_of(sample)] == ["Answer 1.", "Answer 2.", ""]


def test_a_sample_without_a_dialogue_is_answered_once() -> None:
    target = Scripted("Yes.")
    _, sample = replay("Is it ripe?", target)
    assert [heard(call) for call in target.calls] == [[("user", "Is it ripe?")]]
    assert [each.completion for each in answers_of(sample)] == ["Yes."]
    assert answers_of(sample.model_copy(update={"metadata": {}})) == []


def test_the_calls_of_all_turns_are_counted() -> None:
    _, sample = replay([user("One"), user("Two"), user("Three")], Scripted(counted))
    spent = tally(sample)
    assert (spent["defense"], spent["calls"], spent["target_calls"]) == ("none", 3, 3)
    assert (spent["input_tokens"], spent["output_tokens"]) == (30, 15)


def test_a_defense_sees_every_turn_and_the_history_holds_the_users_own_words() -> None:
    target = Scripted(counted)
    rewriter = Scripted(
        lambda call: f'{{"reasoning": "r", "prompt": "Kindly {len(rewriter.calls)}"}}', "rewriter"
    )
    turns: list[ChatMessage] = [user("One?", picture()), user("Two?"), user("Three?")]
    log = run_solver(
        SolverSpec("dialogue"),
        Sample(id="s/1", input=turns),
        guarded_model("vlmguard", target),
        {"rewriter": rewriter},
    )
    assert log.status == "success", log.error
    assert len(target.calls) == len(rewriter.calls) == 3
    assert heard(target.calls[2]) == [
        ("user", "One?"),
        ("assistant", "Answer 1."),
        ("user", "Two?"),
        ("assistant", "Answer 2."),
        ("user", "Kindly 3"),
    ]
    for words in ("One?", "Answer 1.", "Two?", "Answer 2.", "Three?"):
        assert words in "\n".join(message.text for message in rewriter.calls[2].messages)
    (sample,) = log.samples or []
    assert [each.text for each in sample.messages if each.role == "user"] == [
        *("One?", "Two?", "Three?")
    ]
    record = DefenseRecord.of(sample)
    assert [stage.name for stage in record.stages] == ["rewrite", "answer"] * 3
    assert record.rewritten == "Kindly 1\n\nKindly 2\n\nKindly 3"
    assert (tally(sample)["calls"], tally(sample)["target_calls"]) == (6, 3)


def test_a_block_and_a_turn_without_an_answer_keep_their_records() -> None:
    target = Scripted(lambda call: "" if call.text == "Two?" else "Yes.")
    rewriter = Scripted(
        lambda call: "Hm." if len(rewriter.calls) < 3 else '{"reasoning": "r", "prompt": "Two?"}',
        "rewriter",
    )
    log = run_solver(
        SolverSpec("dialogue"),
        Sample(id="s/1", input=[user("One?"), user("Two?"), user("Three?")]),
        guarded_model("vlmguard", target, on_failure="refuse"),
        {"rewriter": rewriter},
    )
    assert log.status == "success", log.error
    (sample,) = log.samples or []
    assert [message.text for message in sample.messages][:4] == [
        *("One?", REFUSAL_MESSAGE, "Two?", NO_ANSWER)
    ]
    assert [record.action for record in DefenseRecord.of_calls(sample)][:2] == ["block", "pass"]
    assert [is_block(each) for each in answers_of(sample)] == [True, False, False]
