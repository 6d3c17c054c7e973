"""The rewriter before the target."""

from typing import Any

import pytest
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem
from support.scripted import (
    Scripted,
    answer_of,
    message_of,
    picture,
    record_of,
    run_solver,
    sample,
    user,
)

from vlmguard.guard.errors import UserError
from vlmguard.solvers import vlmguard

REWRITTEN = "<reasoning>A ladder on ice.</reasoning><prompt>How do I stay safe on it?</prompt>"


def test_the_target_gets_the_image_and_the_rewritten_prompt() -> None:
    target, rewriter = Scripted("Use grips."), Scripted(REWRITTEN, "rewriter")
    image = picture()
    log = run_solver(vlmguard(), sample("How do I use it?", image), target, {"rewriter": rewriter})

    assert answer_of(log) == "Use grips."
    (asked,) = rewriter.calls
    assert asked.parts == ["image", "text"]
    assert asked.images == [image]
    assert "<request>\nHow do I use it?\n</request>" in asked.text
    assert "<reasoning>" in asked.text
    assert (asked.config.temperature, asked.config.max_tokens) == (0.0, 1024)
    (answered,) = target.calls
    assert answered.roles == ["user"]
    assert answered.parts == ["image", "text"]
    assert answered.images == [image]
    assert answered.text == "How do I stay safe on it?"

    record = record_of(log)
    assert record.defense == "vlmguard"
    assert record.original == "How do I use it?"
    assert record.rewritten == "How do I stay safe on it?"
    assert record.triggered
    assert record.failure is None
    assert record.approximations == []
    assert record.notes["reasoning"] == "A ladder on ice."
    assert [(stage.name, stage.role) for stage in record.stages] == [
        ("rewrite", "rewriter"),
        ("answer", "target"),
    ]
    assert [stage.output_tokens for stage in record.stages] == [5, 5]


def test_without_reasoning_the_rewriter_is_asked_for_the_prompt_alone() -> None:
    target, rewriter = Scripted("ok"), Scripted("<prompt>Which way is better?</prompt>", "rewriter")
    log = run_solver(vlmguard(reasoning=False), sample("Q?"), target, {"rewriter": rewriter})
    assert "<reasoning>" not in rewriter.calls[0].text
    assert target.calls[0].text == "Which way is better?"
    assert record_of(log).notes["reasoning"] == ""


def test_an_unchanged_prompt_is_no_intervention() -> None:
    target, rewriter = Scripted("ok"), Scripted("<prompt>Q?</prompt>", "rewriter")
    log = run_solver(vlmguard(reasoning=False), sample("Q?"), target, {"rewriter": rewriter})
    assert target.calls[0].text == "Q?"
    assert not record_of(log).triggered


def test_text_alone_works() -> None:
    target, rewriter = Scripted("ok"), Scripted(REWRITTEN, "rewriter")
    run_solver(vlmguard(), sample("Q?"), target, {"rewriter": rewriter})
    assert rewriter.calls[0].images == target.calls[0].images == []


def test_the_last_turn_of_a_conversation_is_rewritten_with_the_earlier_ones_in_view() -> None:
    target, rewriter = Scripted("ok"), Scripted(REWRITTEN, "rewriter")
    first, last = picture("red"), picture("blue")
    turns = [
        ChatMessageSystem(content="Be brief."),
        user("What is this?", first),
        ChatMessageAssistant(content="A ladder."),
        user("And on this?", last),
    ]
    run_solver(vlmguard(), Sample(id="s/1", input=list(turns)), target, {"rewriter": rewriter})
    (asked,) = rewriter.calls
    assert asked.images == [first, last]
    for said in ("Be brief.", "What is this?", "A ladder.", "And on this?"):
        assert said in asked.text
    (answered,) = target.calls
    assert answered.roles == ["system", "user", "assistant", "user"]
    assert [message.text for message in answered.messages] == [
        "Be brief.",
        "What is this?",
        "A ladder.",
        "How do I stay safe on it?",
    ]
    assert answered.images == [first, last]


def test_an_unusable_reply_passes_the_original_on() -> None:
    target, rewriter = Scripted("ok"), Scripted("", "rewriter")
    log = run_solver(vlmguard(), sample("Q?", picture()), target, {"rewriter": rewriter})
    assert target.calls[0].text == "Q?"
    record = record_of(log)
    assert (record.failure, record.outcome) == ("empty", "unusable")
    assert not record.triggered
    # The retry is also a call.
    assert [stage.name for stage in record.stages] == ["rewrite", "rewrite", "answer"]


def test_what_a_rewriter_refuses_is_passed_on_with_a_caution() -> None:
    target, rewriter = Scripted("ok"), Scripted("I cannot help with that.", "rewriter")
    log = run_solver(vlmguard(), sample("Q?", picture()), target, {"rewriter": rewriter})
    assert target.calls[0].text.startswith("Q?\n\n(A check of this request has found")
    record = record_of(log)
    assert record.rewritten == target.calls[0].text
    assert (record.failure, record.outcome, record.triggered) == ("refused", "refused", True)
    assert len(record.stages) == 2


@pytest.mark.parametrize("choice", ["original", "refuse", "raise"])
def test_what_follows_a_refusal_is_the_users_choice(choice: Any) -> None:
    target, rewriter = Scripted("ok"), Scripted("I cannot help with that.", "rewriter")
    defense = vlmguard(on_refusal=choice)
    log = run_solver(defense, sample("Q?"), target, {"rewriter": rewriter})
    assert [call.text for call in target.calls] == (["Q?"] if choice == "original" else [])
    if choice == "raise":
        assert "s/1" in message_of(log)
    if choice == "refuse":
        assert answer_of(log).startswith("I'm sorry")


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [("<prompt>Q?</prompt>", "copied"), ("No change needed.", "copied"), (REWRITTEN, "rewritten")],
)
def test_record_and_scores_tell_copied_from_rewritten(reply: str, outcome: str) -> None:
    target, rewriter = Scripted("ok"), Scripted(reply, "rewriter")
    record = record_of(run_solver(vlmguard(), sample("Q?"), target, {"rewriter": rewriter}))
    assert record.outcome == outcome
    assert record.triggered == (outcome == "rewritten")


def test_the_version_of_the_prompt_stands_in_the_record() -> None:
    found = []
    for options in ({}, {"prompt": 1}, {"prompt": 2}):
        target, rewriter = Scripted("ok"), Scripted(REWRITTEN, "rewriter")
        defense = vlmguard(**options)
        log = run_solver(defense, sample("Q?", picture()), target, {"rewriter": rewriter})
        record = record_of(log)
        found.append((record.notes["prompt"], record.template))
        assert ("You improve requests" in rewriter.calls[0].text) == (options == {"prompt": 1})
    assert found[0] == found[2] != found[1]
    assert [version for version, _ in found] == [2, 1, 2]


def test_an_unusable_reply_can_refuse_without_asking_the_target() -> None:
    target, rewriter = Scripted("ok"), Scripted("", "rewriter")
    log = run_solver(vlmguard(on_failure="refuse"), sample("Q?"), target, {"rewriter": rewriter})
    assert target.calls == []
    assert answer_of(log).startswith("I'm sorry")
    assert log.samples is not None
    assert [message.role for message in log.samples[0].messages] == ["user", "assistant"]


def test_an_unusable_reply_can_fail_the_sample() -> None:
    target, rewriter = Scripted("ok"), Scripted("", "rewriter")
    log = run_solver(vlmguard(on_failure="raise"), sample("Q?"), target, {"rewriter": rewriter})
    assert target.calls == []
    assert "s/1" in message_of(log)
    assert "empty" in message_of(log)


def test_a_missing_rewriter_stops_before_any_call() -> None:
    target = Scripted("ok")
    log = run_solver(vlmguard(), sample("Q?"), target)
    assert "rewriter" in message_of(log)
    assert target.calls == []


def test_an_error_of_the_rewriter_is_raised() -> None:
    target, rewriter = Scripted("ok"), Scripted(RuntimeError("server down"), "rewriter")
    log = run_solver(vlmguard(), sample("Q?"), target, {"rewriter": rewriter})
    assert "server down" in message_of(log)
    assert target.calls == []


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(UserError, match="original, refuse, raise"):
        vlmguard(on_failure="ignore")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="caution, original, refuse, raise"):
        vlmguard(on_refusal="ignore")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="1, 2"):
        vlmguard(prompt=3)
    with pytest.raises(UserError, match="exclude each other"):
        vlmguard(prompt=2, template="mine.txt")
