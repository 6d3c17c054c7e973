"""Makes Inspect's tasks, solvers and models from a configuration."""

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any, Literal, cast

from inspect_ai import Task

# Inspect has no public name for how it reads a solver from a file, nor for the function of a
# registered task.
from inspect_ai._eval.loader import parse_spec_str, solver_from_spec
from inspect_ai._util.error import PrerequisiteError
from inspect_ai._util.registry import registry_lookup
from inspect_ai.model import Model
from inspect_ai.solver import SolverSpec
from inspect_ai.util import registry_create

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.cards import cards
from vlmguard.guard.errors import UserError
from vlmguard.guard.model_secrets import make_model
from vlmguard.guard.redaction import redact
from vlmguard.results.run.config import UNDEFENDED, Defense, ModelChoice, Step


class UnknownName(UserError):
    """An unknown task or solver, or one without such an argument."""


def as_logged(step: Step) -> Step:
    """The task of a benchmark and all its arguments, as Inspect runs it and logs name it.

    A benchmark whose task runs others too goes by the name of its card.
    """
    card = cards().benchmarks.get(step.name)
    if card is None or not card.task:
        return step
    return step.model_copy(update={"name": card.task, "args": {**card.chosen_by, **step.args}})


def make_task(step: Step) -> Task:
    """The task of a benchmark with its arguments; its data are read.

    Raises:
        UnknownName: There is no such task, or it has no such argument.
        UserError: The task cannot be made, usually because data are missing.
    """
    task: Task = _created("task", as_logged(step))
    # A task's own model would override the configuration's targets.
    task.model = None
    return task


def with_defaults(step: Step) -> dict[str, Any]:
    """The arguments of a benchmark, with the defaults of those that are not given."""
    function: Any = registry_lookup("task", _qualified(step.name))
    parameters = signature(function).parameters if function else {}
    defaults = {
        name: each.default
        for name, each in parameters.items()
        if each.default is not Parameter.empty
    }
    return {**defaults, **step.args}


def make_solver(defense: Defense) -> SolverSpec | None:
    """The solver of a defense, by name, so that logs have the name; None for undefended.

    A solver of a file goes by FILE.py@NAME, as in `inspect eval --solver`.

    Raises:
        UnknownName: There is no such solver, or it has no such argument.
    """
    if defense.name == UNDEFENDED:
        return None
    if ".py" in defense.name:
        return _of_file(defense)
    _created("solver", defense)
    return SolverSpec(_qualified(defense.name), defense.args, defense.args)


def make_target(given: ModelChoice) -> Model:
    """A model, with its arguments and settings."""
    return make_model(given.model, given.model_args, given.generate)


def make_role(bound: list[ModelChoice]) -> Model | list[Model]:
    """The model or models of a role."""
    made = [make_target(each) for each in bound]
    return made[0] if len(made) == 1 else made


def _created(kind: Literal["task", "solver"], step: Step) -> Any:
    try:
        return registry_create(kind, _qualified(step.name), **step.args)
    except (LookupError, TypeError) as error:
        ours = cards().benchmarks if kind == "task" else cards().defenses
        meant = did_you_mean(step.name, ours)
        if function := registry_lookup(kind, _qualified(step.name)):
            parameters = signature(cast(Callable[..., Any], function)).parameters
            unknown = [name for name in step.args if name not in parameters]
            meant = did_you_mean(unknown[0], parameters) if unknown else ""
        raise UnknownName(
            f"{kind} {step.name} with {redact(step.args) or 'no arguments'}: {error}.{meant} Ours "
            f"are {', '.join(ours)} (vlmguard list: their arguments); others are written "
            "package/name."
        ) from error


def _of_file(defense: Defense) -> SolverSpec:
    spec = SolverSpec(defense.name, defense.args, defense.args)
    file, _ = parse_spec_str(defense.name)
    if file is None or not file.is_file():
        raise UnknownName(f"solver {defense.name}: no such file. Write FILE.py@NAME.")
    try:
        solver_from_spec(spec)
    except UserError:
        raise
    except (PrerequisiteError, LookupError, TypeError, ValueError, ImportError) as error:
        raise UnknownName(
            f"solver {defense.name} with {redact(defense.args) or 'no arguments'}: {error}."
        ) from error
    return spec


def _qualified(name: str) -> str:
    """The full name: ours have short names, others' have `package/name`."""
    return name if "/" in name else f"vlmguard/{name}"
