"""Finds what a run needs beside data, before anything is paid for.

Each task and solver of ours finds its models before its first call. In a matrix that is too late:
earlier defenses and benchmarks are already paid for.
"""

from collections.abc import Collection, Sequence
from typing import Any

from inspect_ai import Task

# Inspect has no public name for the arguments of a solver.
from inspect_ai._util.registry import (
    is_registry_object,
    registry_params,
    registry_unqualified_name,
)

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.attacks import attack_cards
from vlmguard.guard.cards import DefenseCard, cards
from vlmguard.guard.guarded_names import PROVIDER, guarded_name
from vlmguard.results.logs.answers import GRADER, bare
from vlmguard.results.logs.attack import LOOP
from vlmguard.results.run.config import (
    FILL_IN,
    UNDEFENDED,
    Defense,
    Matrix,
    ModelChoice,
    roles,
)


def missing_roles(
    task: Task, defense: str, args: dict[str, Any], bound: Collection[str]
) -> list[str]:
    """Roles without a model, the task's own first.

    Args:
        task: The task of a benchmark; roles that it binds itself are not missing.
        defense: Name of the solver.
        args: Its arguments.
        bound: Roles that the user bound.
    """
    wanted = [*_setup_roles(task), *roles_of_defense(defense, args)]
    return [role for role in wanted if role not in {*bound, *(task.model_roles or ())}]


def roles_of_defense(defense: str, args: dict[str, Any]) -> list[str]:
    """Roles for which a defense needs a model, if its arguments do not name another."""
    card = card_of(defense)
    if card is None:
        return []
    return [role.name for role in card.roles if role.needed and role.option not in args]


def misspelled_roles(matrix: Matrix) -> list[str]:
    """Roles with a model that nobody asks, since they are probably misspelt: a sentence for each.

    A role that is like none of ours, or stands beside a solver of others, may be theirs.
    """
    ours = (UNDEFENDED, LOOP)
    if any(each.name not in ours and card_of(each.name) is None for each in matrix.defenses):
        return []
    asked = [each.roles for each in cards().defenses.values()]
    asked += [each.roles for each in attack_cards().values()]
    known = {GRADER, *(role.name for roles_of_card in asked for role in roles_of_card)}
    bound = {role: None for defense in matrix.defenses for role in roles(matrix, defense)}
    return [
        f"role {role}: nobody asks the model in it.{meant} Correct the name."
        for role in bound
        if role not in known and (meant := did_you_mean(role, known))
    ]


def cannot_start(defense: Defense, bound: Collection[str], target: ModelChoice) -> list[str]:
    """What else a defense lacks, as far as its arguments show.

    Args:
        defense: The defense.
        bound: Roles that have a model.
        target: The evaluated model.

    Returns:
        What is missing, each with the way out.
    """
    if defense.name != UNDEFENDED and target.model.startswith(f"{PROVIDER}/"):
        return [f"{target.model} has a defense of its own: run it under {UNDEFENDED} alone"]
    card = card_of(defense.name)
    if card is None:
        return []
    model = "" if FILL_IN in target.model else target.model
    return card.lacks(defense.args, bound, model)


def seen_as(defense: Defense, target: ModelChoice) -> tuple[Defense, ModelChoice]:
    """A run's defense and the model that answers, also where the model brings its defense along."""
    if defense.name not in (UNDEFENDED, LOOP):
        return defense, target
    guarded = None if FILL_IN in target.model else guarded_name(target.model, target.model_args)
    around = defense
    if defense.name == LOOP:
        # Its label and its roles are those of the defense inside.
        around = defense.model_copy(update={"name": UNDEFENDED, "args": {}})
    if guarded is None:
        return around, target
    around = around.model_copy(update={"name": guarded.defense, "args": guarded.options})
    update = {"model": guarded.model, "model_args": guarded.model_args}
    return around, target.model_copy(update=update)


def card_of(defense: str) -> DefenseCard | None:
    """The card of a solver, by any of the names that Inspect takes; None for those of others."""
    return cards().defenses.get(bare(defense))


def _setup_roles(task: Task) -> list[str]:
    """The roles that the task's `require_roles` will need."""
    steps = task.setup if isinstance(task.setup, Sequence) else [task.setup]
    return [
        str(role)
        for step in steps
        if is_registry_object(step) and registry_unqualified_name(step) == "require_roles"
        for role in registry_params(step).get("roles", ())
    ]
