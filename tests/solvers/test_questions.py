"""A defense's own questions have one reply, whole: no setting of the answer's form reaches them."""

from typing import Any

import pytest
from inspect_ai.model import GenerateConfig, ResponseSchema
from inspect_ai.util import JSONSchema
from support.defense_scripts import script_of
from support.guarded import guarded_model
from support.scripted import Call, Scripted, picture, run_solver, sample

from vlmguard import solvers
from vlmguard.guard.cards import cards

DEFENSES = [
    name
    for name in cards().defenses
    if name in vars(solvers) and (script_of(name).roles or script_of(name).questions)
]
FORM: dict[str, Any] = {
    "stop_seqs": ["Verdict"],
    "logprobs": True,
    "top_logprobs": 3,
    "logit_bias": {7: -1.0},
    "response_schema": ResponseSchema(name="answer", json_schema=JSONSchema(type="object")),
}
SEVERAL = {"num_choices": 3, "best_of": 3}


def form_of(call: Call) -> dict[str, Any]:
    return call.config.model_dump(exclude_none=True, include={*FORM, *SEVERAL})


@pytest.mark.parametrize("around", ["solver", "guarded"])
@pytest.mark.parametrize("defense", DEFENSES)
def test_questions_have_the_form_of_questions(defense: str, around: str) -> None:
    script = script_of(defense)
    models = script.models("alarmed")
    target, guarded = models["target"], around == "guarded"
    roles = {name: each.model for name, each in models.items() if name != "target"}
    for model in roles.values():
        model.config = GenerateConfig(max_tokens=5000)
    log = run_solver(
        None if guarded else vars(solvers)[defense](**script.options),
        sample("How?", picture()),
        guarded_model(defense, target, **script.options) if guarded else target,
        roles,
        reasoning_effort="low",
        **FORM,
    )
    assert log.status == "success", log.error
    asked = [call for call in target.calls if any(words in call.text for words in script.questions)]
    assert bool(asked) == bool(script.questions)
    assert all(call.config.reasoning_effort == "low" for call in asked)
    helped = [call for name in roles for call in models[name].calls]
    assert bool(helped) == bool(roles)
    assert all(call.config.max_tokens == 5000 for call in helped)
    assert [form_of(call) for call in (*asked, *helped)] == [{}] * len([*asked, *helped])


@pytest.mark.parametrize("setting", [*FORM, *SEVERAL])
def test_a_roles_model_with_a_form_of_its_own_is_refused(setting: str) -> None:
    target, critic = Scripted("An answer."), Scripted("Verdict: keep", "critic")
    model = critic.model
    model.config = GenerateConfig(**{setting: {**FORM, **SEVERAL}[setting]})
    log = run_solver(solvers.rethink(), sample("How?", picture()), target, {"critic": model})
    assert log.error
    assert f"it has {setting}" in log.error.message
    assert not target.calls


@pytest.mark.parametrize("around", ["solver", "guarded"])
def test_the_answer_keeps_its_form(around: str) -> None:
    def says(call: Call) -> str:
        asked = "safety_prompt" in call.text
        return '{"rationale": "r", "risk": false, "safety_prompt": ""}' if asked else "An answer."

    target, guarded = Scripted(says), around == "guarded"
    log = run_solver(
        None if guarded else solvers.rapguard(),
        sample("How?", picture()),
        guarded_model("rapguard", target) if guarded else target,
        **FORM,
        **SEVERAL,
    )
    assert log.status == "success", log.error
    question, answer = target.calls
    assert form_of(question) == {}
    assert form_of(answer).keys() == {*FORM, *SEVERAL}
