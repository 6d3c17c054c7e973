"""Checks a matrix before anything is paid for."""

from collections.abc import Callable, Sequence
from typing import Any

from inspect_ai import Task

from vlmguard.guard.attacks import chosen_attack
from vlmguard.guard.cards import cards
from vlmguard.guard.defense import defense_named
from vlmguard.guard.errors import UserError
from vlmguard.guard.redaction import redact
from vlmguard.results.logs.answers import bare, digest
from vlmguard.results.logs.attack import LOOP
from vlmguard.results.run.changed_files import changed_runs, named_files
from vlmguard.results.run.config import Defense, Matrix, ModelChoice, Step, all_models, roles
from vlmguard.results.run.making import as_logged, make_solver, make_task
from vlmguard.results.run.models import unusable_models
from vlmguard.results.run.roles_needed import (
    cannot_start,
    card_of,
    missing_roles,
    misspelled_roles,
    seen_as,
)


def checked_tasks(matrix: Matrix, make: Callable[[Step], Task] = make_task) -> list[Task]:
    """The tasks of a matrix, after all names and roles are checked.

    Args:
        matrix: The matrix.
        make: Makes the task of a benchmark.

    Raises:
        UserError: There is no such task or solver, a model cannot be made, a role that is needed
            has no model, or a defense lacks something else.
    """
    if faults := unusable_models(all_models(matrix)):
        raise UserError(f"{'; '.join(faults)}.")
    if misspelled := misspelled_roles(matrix):
        raise UserError(" ".join(misspelled))
    for defense in matrix.defenses:
        make_solver(defense)
    tasks = [make(step) for step in matrix.benchmarks]
    runs = [
        (defense, *seen_as(defense, target))
        for defense in matrix.defenses
        for target in matrix.targets
    ]
    problems = dict.fromkeys(
        f"{around.label or around.name} on {step.label or step.name}: {', '.join(missing)}"
        for step, task in zip(matrix.benchmarks, tasks, strict=True)
        for defense, around, _ in runs
        if (missing := missing_roles(task, around.name, around.args, roles(matrix, defense)))
    )
    if problems:
        raise UserError(
            f"roles without a model: {'; '.join(problems)}. Bind them: roles: in the "
            f"configuration, or --role ROLE=MODEL without one."
        )
    lacking = [
        f"{around.label or around.name} on {target.model}: {'; '.join(missing)}"
        for defense, around, target in runs
        if (missing := cannot_start(around, roles(matrix, defense), target))
    ]
    if lacking:
        raise UserError(f"missing: {' | '.join(lacking)}.")
    return tasks


def refuse_changed(matrix: Matrix, tasks: list[Task], places: list[str]) -> None:
    """Stop if a log was begun with other files than the present ones.

    Args:
        matrix: The configuration.
        tasks: Its benchmarks.
        places: The log folder of each defense.

    Raises:
        UserError: Names the logs, and what changed; or a log that cannot be read.
    """
    ran = map(as_logged, matrix.benchmarks)
    steps = [(step.name, step.args, task) for step, task in zip(ran, tasks, strict=True)]
    changed = [
        line
        for defense, place in zip(matrix.defenses, places, strict=True)
        for line in changed_runs(place, steps, files_named_in(matrix, defense, tasks))
    ]
    if changed:
        listed = "\n".join(f"  {line}" for line in changed)
        raise UserError(
            f"files have changed since these runs began, so their answers are to something else "
            f"(log: what changed):\n{listed}\nRestore the files, or name another log_dir."
        )


def files_named_in(matrix: Matrix, defense: Defense, tasks: list[Task]) -> dict[str, str]:
    """Digests of all files that the configuration names by path under a defense.

    Returns:
        Digests by the names under which logs keep them.
    """
    benchmarks = {}
    for step, task in zip(matrix.benchmarks, tasks, strict=True):
        # Our own tasks record themselves what they read from their folder.
        read = {"data_dir"} if "data" in (task.metadata or {}) else set()
        named = {name: value for name, value in step.args.items() if name not in read}
        ours = cards().benchmark(bare(step.name), step.args) is not None
        told = _told_apart(step.label or step.name, step.args)
        benchmarks[told] = {**named, **(_of_attack(step.args) if ours else {})}
    named = named_files(
        {
            "benchmarks": benchmarks,
            "defense": {
                **defense.args,
                **(_of_attack(defense.args) if defense.name == LOOP else {}),
            },
            "targets": _by_model(matrix.targets),
            "roles": {role: _by_model(bound) for role, bound in roles(matrix, defense).items()},
        }
    )
    return {**named, **_read_beside(matrix, defense)}


def _of_attack(arguments: dict[str, Any]) -> dict[str, Any]:
    """The options of the attack that a benchmark or a loop names, since it may name files."""
    attack = arguments.get("attack")
    return {"attack": dict(chosen_attack(attack).options)} if attack else {}


def _read_beside(matrix: Matrix, defense: Defense) -> dict[str, str]:
    """What defenses read beside the files that their options name, by target."""
    found = {}
    for target in matrix.targets:
        around, _ = seen_as(defense, target)
        card = card_of(around.name)
        if card is not None and (content := defense_named(card.name)(**around.args).content):
            found[f"{_told_apart(target.model, target.model_args)}.{card.name}.content"] = content
    return found


def _by_model(chosen: Sequence[ModelChoice]) -> dict[str, Any]:
    return {
        _told_apart(each.model, each.model_args): {"model": each.model, **each.model_args}
        for each in chosen
    }


def _told_apart(name: str, arguments: dict[str, Any]) -> str:
    """A name with a digest of its arguments, so that one model with two adapters has two names."""
    return f"{name}[{digest(redact(arguments))}]" if arguments else name
