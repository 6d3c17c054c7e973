"""The amplified principle: what is sent, what is refused, and real tokens of a tiny checkpoint."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import GenerateConfig, get_model
from support.checkpoints import checkpoint_fixture
from support.guarded import guarded_model
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

from vlmguard.guard.cards import cards
from vlmguard.guard.contrast import Contrast
from vlmguard.guard.defense import Conversation, Target, defense_named
from vlmguard.guard.errors import UserError
from vlmguard.solvers import coca, safety_prompt
from vlmguard.solvers.coca import PRINCIPLE

tiny = checkpoint_fixture("llava")


def able() -> Scripted:
    return Scripted("ok", provider="contrasting")


def contrast(alpha: float = 4.0, without: str = PRINCIPLE) -> dict[str, Any]:
    return {"contrast": {"alpha": alpha, "without": without}}


def test_the_principle_is_a_system_turn_and_is_contrasted() -> None:
    target, image = able(), picture()
    record = record_of(run_solver(coca(), sample("How?", image), target))
    (call,) = target.calls
    assert [(each.role, each.text) for each in call.messages] == [
        ("system", PRINCIPLE),
        ("user", "How?"),
    ]
    assert call.images == [image]
    assert call.config.extra_body == contrast()
    assert call.config.temperature is None
    assert (record.action, record.triggered, record.rewritten) == ("rewrite", True, None)
    assert record.notes == {"place": "system", "alpha": 4.0}
    assert record.approximations == ["alpha=4: not confirmed by the authors"]
    assert [(stage.name, stage.role) for stage in record.stages] == [("answer", "target")]


@pytest.mark.parametrize(
    ("place", "text"),
    [("suffix", f"How?\n\n{PRINCIPLE}"), ("prefix", f"{PRINCIPLE}\n\nHow?")],
)
def test_it_can_stand_in_the_user_turn(place: Any, text: str) -> None:
    target = able()
    record = record_of(run_solver(coca(place=place), sample("How?", picture()), target))
    (call,) = target.calls
    assert (call.roles, call.text, call.config.extra_body) == (["user"], text, contrast())
    assert record.rewritten == text


def test_a_file_replaces_the_principle(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("Mind the fire.\n")
    target = able()
    run_solver(coca(alpha=2, template=str(tmp_path / "mine.txt")), sample("How?"), target)
    (call,) = target.calls
    assert call.messages[0].text == "Mind the fire."
    assert call.config.extra_body == contrast(2.0, "Mind the fire.")


def test_the_users_temperature_stays() -> None:
    target = able()
    run_solver(coca(), sample("How?"), target, temperature=0.7)
    assert target.calls[0].config.temperature == 0.7


def test_a_request_that_is_passed_asks_for_no_contrast() -> None:
    target = able()
    record = record_of(run_solver(coca(), sample("  "), target))
    assert record.skipped == "empty"
    assert target.calls[0].config.extra_body is None


@pytest.mark.parametrize("around", ["solver", "guarded"])
def test_a_target_without_scores_is_refused_before_any_call(around: str) -> None:
    target = Scripted("ok")
    one = sample("How?", picture())
    if around == "solver":
        log = run_solver(coca(), one, target)
    else:
        log = run_solver(None, one, guarded_model("coca", target))
    said = message_of(log)
    assert said.startswith("coca needs a target whose scores it can combine, a local checkpoint")
    assert "hf-vlm/CHECKPOINT" in said
    assert "mockllm/target is none" in said
    assert "\n" not in said
    assert target.calls == []


async def test_nothing_is_decided_without_the_target() -> None:
    with pytest.raises(UserError, match="cannot decide about a request alone"):
        await defense_named("coca")().decide(Conversation([user("How?")]))


async def test_a_model_that_cannot_be_contrasted_is_refused_before_any_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(self: Any) -> None:
        raise UserError("a text encoder")

    target = able()
    model = target.model
    monkeypatch.setattr(type(model.api), "check_contrast", refuse)
    with pytest.raises(UserError, match="a text encoder"):
        await defense_named("coca")().run(Conversation([user("How?")]), Target(model))
    assert target.calls == []


def test_a_request_that_repeats_the_principle_is_an_error() -> None:
    log = run_solver(coca(), sample(f"Ignore this: {PRINCIPLE}"), able())
    assert "stands there 2 times" in message_of(log)


def test_plans_know_which_targets_can() -> None:
    lacks = cards().defenses["coca"].lacks
    for target in ("", "hf-vlm/a/b", "microworld/llava"):
        assert lacks({}, [], target) == []
    (said,) = lacks({}, [], "openai/gpt-4o")
    assert "hf-vlm/CHECKPOINT" in said
    assert "openai/gpt-4o is none" in said


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"alpha": -1}, "-S alpha=-1: a number from 0 to 100"),
        ({"alpha": float("inf")}, "-S alpha=inf: a number from 0 to 100"),
        ({"place": "end"}, "-S place=end is not known"),
    ],
)
def test_a_senseless_option_is_refused(option: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        coca(**option)


def test_real_tokens_as_a_solver_and_around_the_model(tiny: Path) -> None:
    """Both carriers send the same contrast; at alpha 0 it is the prompt alone."""
    short = {"max_tokens": 8}
    model = get_model(f"hf-vlm/{tiny}", memoize=False, device="cpu")
    one = sample("How?", picture())
    try:
        solved = answer_of(run_solver(coca(), one, model, **short))
        around = get_model(
            f"guarded/coca/hf-vlm/{tiny}", memoize=False, model_args={"device": "cpu"}
        )
        assert answer_of(run_solver(None, one, around, **short)) == solved
        plain = answer_of(run_solver(safety_prompt(text=PRINCIPLE), one, model, **short))
        assert answer_of(run_solver(coca(alpha=0), one, model, **short)) == plain != solved
        asked = Conversation([user("How?", picture())]).with_addition(PRINCIPLE, "system")
        body = Contrast(alpha=4.0, without=PRINCIPLE).body()
        settings = GenerateConfig(max_tokens=8, extra_body=body)
        assert asyncio.run(model.generate(asked, config=settings)).completion == solved
    finally:
        asyncio.run(model.api.aclose())
