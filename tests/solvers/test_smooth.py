"""Noisy copies of the image, and a vote on whether to refuse."""

from typing import Any

import numpy as np
import pytest
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageAssistant, ChatMessageTool, ModelOutput
from inspect_ai.tool import ToolCall
from support.scripted import (
    Call,
    Scripted,
    answer_of,
    choices,
    picture,
    record_of,
    run_solver,
    sample,
    user,
)

from vlmguard.guard.defense import Conversation, Target
from vlmguard.guard.errors import UserError
from vlmguard.guard.images.prepare import from_data_uri
from vlmguard.solvers import smooth
from vlmguard.solvers.smooth import CARD, Smooth, refuses

RED, BLUE = picture("red"), picture("blue")
NO = "I'm sorry, but I can't help with that."


def script(*replies: Any) -> Scripted:
    left = iter(replies)
    return Scripted(lambda call: next(left))


def pixels(uri: str) -> Any:
    return np.array(from_data_uri(uri))


def test_each_copy_has_other_noise_and_the_same_request() -> None:
    target = Scripted("Like this.")
    log = run_solver(smooth(), sample("How?", RED), target, temperature=0.7, max_tokens=99)
    assert answer_of(log) == "Like this."
    assert len(target.calls) == 5
    shown = [call.images[0] for call in target.calls]
    assert len({*shown, RED}) == 6
    for call in target.calls:
        assert (call.text, call.parts) == ("How?", ["image", "text"])
        assert (call.config.temperature, call.config.max_tokens) == (0.7, 99)
        found = pixels(call.images[0])
        black = (found == 0).all(axis=2)
        assert 0.1 < black.mean() < 0.3
        assert (found[~black] == (255, 0, 0)).all()
    record = record_of(log)
    assert [stage.name for stage in record.stages] == ["answer", *["copy"] * 4]
    assert {stage.role for stage in record.stages} == {"target"}
    assert record.action == "rewrite"
    assert record.approximations == ["k, share: not confirmed by the authors"]
    assert record.notes.items() >= {"k": 5, "noise": "mask", "share": 0.2}.items()
    assert (record.notes["refused"], record.notes["voted"]) == (0, 5)


def test_gaussian_noise_is_the_other_and_its_vote_is_a_deviation() -> None:
    target = Scripted("Like this.")
    log = run_solver(smooth(k=2, noise="gaussian", sigma=0.2), sample("How?", BLUE), target)
    assert 20 < pixels(target.calls[0].images[0])[..., 0].std() < 40  # half of it is cut off at 0
    record = record_of(log)
    assert record.approximations == ["k: not confirmed by the authors", "vote: refused or not"]
    assert record.notes["sigma"] == 0.2


@pytest.mark.parametrize(
    ("replies", "refused"),
    [
        (["A", "B", NO], False),
        ([NO, "B", NO], True),
        (["A", NO, NO], True),
        (["A", NO], True),
        (["A", "", NO], True),
        (["A", "", "C"], False),
        (["A", ModelOutput.from_content("m", "", "content_filter"), NO], True),
        (["A", "", ""], False),
        ([NO, "", ""], True),
    ],
)
def test_the_majority_decides_and_a_tie_is_refused(replies: list[Any], refused: bool) -> None:
    log = run_solver(smooth(k=len(replies)), sample("How?", RED), script(*replies))
    said = log.samples[0].output  # type: ignore[index]
    assert refuses(said) is refused
    part = CARD.parts[0]
    assert part.acted(record_of(log)) is refused
    assert record_of(log).outcome == ("refusal won" if refused else "answer won")
    assert record_of(log).notes["voted"] == sum(reply != "" for reply in replies)


def test_a_member_is_drawn_and_a_rerun_draws_it_again() -> None:
    def answers(name: str) -> list[str]:
        found = []
        log = run_solver(
            smooth(k=3),
            [Sample(id=f"{name}{n}", input=[user("How?", RED)]) for n in range(8)],
            Scripted(lambda call: call.images[0][-60:]),
            epochs=2,
        )
        assert log.status == "success"
        for each in sorted(log.samples or [], key=lambda one: (str(one.id), one.epoch)):
            assert each.metadata["defense_record"]["notes"]["chosen"] in (1, 2, 3)
            found.append(each.output.completion)
        return found

    once = answers("s")
    assert len(set(once)) == 16  # each sample and epoch has noise of its own
    assert answers("s") == once
    assert {*answers("t")}.isdisjoint(once)


def test_every_member_of_the_majority_can_be_drawn_and_no_other() -> None:
    drawn = set()
    for number in range(25):
        one = Sample(id=f"s/{number}", input=[user("How?", RED)])
        drawn.add(answer_of(run_solver(smooth(k=4), one, script("A", NO, "C", "D"))))
    assert drawn == {"A", "C", "D"}


def test_without_an_image_it_passes_and_costs_one_call() -> None:
    target = Scripted("Like this.")
    record = record_of(run_solver(smooth(), sample("How?"), target))
    assert (record.skipped, record.action) == ("no_image", "pass")
    assert len(target.calls) == 1


def test_earlier_images_have_no_noise_and_that_is_noted() -> None:
    turns = [user("Old?", RED), ChatMessageAssistant(content="Old."), user("New?", BLUE)]
    target = Scripted("Like this.")
    record = record_of(run_solver(smooth(k=2), Sample(id="s/1", input=list(turns)), target))
    assert record.approximations[1:] == ["earlier images: without noise"]
    for call in target.calls:
        first, last = call.images
        assert (first == RED, last == BLUE) == (True, False)


def test_all_images_of_the_turn_have_noise() -> None:
    target = Scripted("Like this.")
    run_solver(smooth(k=2), sample("How?", RED, RED), target)
    assert len({RED, *(image for call in target.calls for image in call.images)}) == 5


async def test_a_turn_behind_a_tools_result_is_asked_once() -> None:
    target = Scripted("Like this.")
    call = ToolCall(id="1", function="look", arguments={})
    later = [
        ChatMessageAssistant(content="", tool_calls=[call]),
        ChatMessageTool(content="Nothing.", tool_call_id="1"),
    ]
    outcome = await Smooth().run(Conversation([user("How?", RED), *later]), Target(target.model))
    assert (outcome.record.skipped, outcome.decision.action) == ("tool_turn", "pass")
    assert [each.images for each in target.calls] == [[RED]]


async def test_a_copy_that_calls_a_tool_has_no_vote() -> None:
    called = ModelOutput.for_tool_call("m", "look", {})
    target = script("A", called, NO)
    outcome = await Smooth(k=3).run(Conversation([user("How?", RED)]), Target(target.model))
    assert (outcome.record.notes["voted"], outcome.record.notes["refused"]) == (2, 1)
    first = await Smooth(k=3).run(Conversation([user("How?", RED)]), Target(script(called).model))
    assert first.record.skipped == "tool_call"
    assert first.output.message.tool_calls


@pytest.mark.parametrize("first", ["", ModelOutput.from_content("m", "", "content_filter")])
def test_what_the_base_does_not_look_at_stands_without_a_vote(first: Any) -> None:
    target = script(first)
    log = run_solver(smooth(), sample("How?", RED), target)
    assert (len(target.calls), answer_of(log)) == (1, "")
    assert CARD.parts[0].acted(record_of(log)) is None


def test_the_beginning_of_an_answer_is_read_with_it() -> None:
    turns = [user("How?", RED), ChatMessageAssistant(content="I'm sorry, but I")]
    log = run_solver(smooth(k=2), Sample(id="s/1", input=list(turns)), Scripted(" can't help."))
    assert record_of(log).notes["refused"] == 2
    assert not refuses(choices(" can't help."))


def test_an_error_of_a_copy_is_an_error_of_the_sample() -> None:
    def reply(call: Call) -> str | Exception:
        return "A" if len(target.calls) == 1 else RuntimeError("server down")

    target = Scripted(reply)
    log = run_solver(smooth(k=3), sample("How?", RED), target)
    assert log.status == "error"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "-S k"),
        ({"noise": "salt"}, "mask, gaussian"),
        ({"share": 1.5}, "-S share=1.5"),
        ({"noise": "gaussian", "sigma": -1}, "-S sigma=-1"),
        ({"sigma": 0.1}, "-S sigma has no effect with -S noise=mask"),
        ({"noise": "gaussian", "share": 0.1}, "-S share has no effect with -S noise=gaussian"),
    ],
)
def test_options_are_checked(options: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        smooth(**options)


@pytest.mark.parametrize("k", [1, 3])
def test_the_card_says_the_calls(k: int) -> None:
    target = Scripted("A")
    run_solver(smooth(k=k), sample("How?", RED), target)
    assert CARD.calls({"k": k}, ())["target"].most == len(target.calls) == k
    assert CARD.calls({}, ())["target"] == CARD.target_calls
