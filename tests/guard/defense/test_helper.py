"""Who answers a defense's own questions."""

import pytest
from inspect_ai.model import ChatMessageUser, GenerateConfig, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver
from support.scripted import Scripted, run_solver, sample

from vlmguard.guard.defense import Helper, Target
from vlmguard.guard.errors import UserError

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
