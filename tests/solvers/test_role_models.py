"""A role of a defense has one model: of two, only the first would be asked."""

import tempfile

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from support.defense_scripts import script_of
from support.guarded import guarded_model
from support.scripted import Scripted, message_of, picture, sample

from vlmguard import solvers
from vlmguard.guard.cards import cards

ROLES = [
    (name, role.name)
    for name, card in cards().defenses.items()
    if name in vars(solvers)
    for role in card.roles
]


def test_there_are_such_roles() -> None:
    assert {"captioner", "critic", "guard", "rewriter", "router"} <= {role for _, role in ROLES}


@pytest.mark.parametrize("around", ["solver", "guarded"])
@pytest.mark.parametrize(("defense", "role"), ROLES)
def test_two_models_are_refused_before_a_call(defense: str, role: str, around: str) -> None:
    script = script_of(defense)
    models = script.models("calm")
    second = Scripted("No.", "second")
    first = models.get(role, Scripted("No.", role))
    bound = {name: each.model for name, each in models.items() if name != "target"}
    guarded = around == "guarded"
    target = models["target"]
    (log,) = inspect_eval(
        Task(dataset=[sample("How?", picture())]),
        solver=None if guarded else vars(solvers)[defense](**script.options),
        model=guarded_model(defense, target, **script.options) if guarded else target.model,
        model_roles={**bound, role: [first.model, second.model]},
        display="none",
        log_dir=tempfile.mkdtemp(),
    )
    said = message_of(log)
    assert f"--model-role {role}=mockllm/{first.name},mockllm/second" in said
    assert "one model" in said
    assert not any(each.calls for each in (*models.values(), first, second))
