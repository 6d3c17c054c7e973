"""Who answers a defense's own questions."""

from typing import Any

import pytest
from inspect_ai.model import ChatMessageUser, GenerateConfig, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver
from support.scripted import Scripted, picture, run_solver, sample

from vlmguard.guard.defense import Helper, Target, UnusableReply, unusable
from vlmguard.guard.errors import UserError
from vlmguard.guard.record import DefenseRecord
from vlmguard.guard.text.outputs import Output

ASKED = [ChatMessageUser(content="What do you see?")]
OURS = GenerateConfig(temperature=0.0, max_tokens=50)


@solver
def asking(names: list[str]) -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        helper = Helper.of("captioner", Target(get_model()), "caption_only")
        names.append(helper.name)
        await helper.ask(ASKED, OURS)
        return state

    return solve


def test_the_target_answers_if_no_model_is_bound() -> None:
    target, names = Scripted("A rope."), list[str]()
    log = run_solver(asking(names), sample("Hi"), target)
    assert log.status == "success"
    assert names == ["target"]
    (call,) = target.calls
    assert (call.text, call.config.temperature, call.config.max_tokens) == (ASKED[0].text, 0.0, 50)


def test_a_model_in_the_role_answers_under_the_settings_that_its_user_gave() -> None:
    target, captioner, names = Scripted("no"), Scripted("A rope.", "captioner"), list[str]()
    log = run_solver(asking(names), sample("Hi"), target, {"captioner": captioner})
    assert log.status == "success"
    assert names == ["captioner"]
    assert not target.calls
    (call,) = captioner.calls
    assert (call.text, call.config.temperature, call.config.max_tokens) == (ASKED[0].text, 0.0, 50)


def test_without_either_the_role_is_named() -> None:
    with pytest.raises(UserError, match="--model-role captioner=MODEL"):
        Helper.of("captioner", None, "caption_only")


LIMIT = RuntimeError("At most 1 image(s) may be provided in one request.")


@solver
def replying(found: list[Output | UnusableReply], records: list[DefenseRecord]) -> Solver:
    """Puts a question about all images of the sample."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        helper = Helper.of("captioner", Target(get_model()), "caption_only")
        record = DefenseRecord()
        try:
            found.append(await helper.reply("caption", list(state.messages), OURS, record))
        except UnusableReply as unusable_reply:
            found.append(unusable_reply)
        records.append(record)
        return state

    return solve


def test_a_role_that_takes_fewer_images_is_a_failure_and_its_call_is_noted() -> None:
    found, records = list[Any](), list[DefenseRecord]()
    both = sample("Hi", picture("red"), picture("blue"))
    captioner = Scripted(LIMIT, "captioner")
    log = run_solver(replying(found, records), both, Scripted("no"), {"captioner": captioner})
    assert log.status == "success", log.error
    assert found[0].reason == "unsupported_images"
    (stage,) = records[0].stages
    assert (stage.name, stage.role, stage.output) == ("caption", "captioner", "")
    # The target could not answer about them either.
    failed = run_solver(replying(found, records), both, Scripted(LIMIT))
    assert failed.status == "error"


def test_a_reply_is_read_without_thinking_and_noted_whole() -> None:
    found, records = list[Any](), list[DefenseRecord]()
    target = Scripted("<think>A rope?</think>A rope.")
    log = run_solver(replying(found, records), sample("Hi"), target)
    assert log.status == "success", log.error
    assert (found[0].kind, found[0].text) == ("answer", "A rope.")
    (stage,) = records[0].stages
    assert stage.output == "<think>A rope?</think>A rope."
    assert stage.role == "target"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (Output("answer", "", "Lovely weather today."), "no_intent"),
        (Output("no_answer", "empty", ""), "no_intent"),
        (Output("cut_off", "max_tokens", "I am sorry, but I can't"), "cut_off"),
        (Output("refusal", "content_filter", ""), "refused"),
        (Output("answer", "", "I'm sorry, but I can't help with that."), "refused"),
    ],
)
def test_why_a_reply_cannot_be_used(said: Output, reason: str) -> None:
    assert unusable(said, "no_intent").reason == reason
