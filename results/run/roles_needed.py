"""Which roles a run needs a model for, so that a missing one is found before anything is paid for.

Every task and solver of ours resolves its roles before its first call. In a matrix that comes too
late: the defenses and benchmarks before it have been paid for by then.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

from inspect_ai import Task

# Inspect has no public name for the arguments that a solver was made with.
from inspect_ai._util.registry import (
    is_registry_object,
    registry_params,
    registry_unqualified_name,
)

from vlmguard.results.logs.answers import bare

# For each defense its roles, with the argument that takes the place of a model. ETA's roles
# replace models of its own; what defenses of other packages need, nobody can say before.
_DEFENSES: Final[dict[str, dict[str, str | None]]] = {
    "vlmguard": {"rewriter": None},
    "mllm_protector": {"detector": "detector"},
}


def missing_roles(
    task: Task, defense: str, args: dict[str, Any], bound: Collection[str]
) -> list[str]:
    """Roles without a model.

    Args:
        task: The task of a benchmark; roles that it brings are bound.
        defense: Name of the solver.
        args: Its arguments.
        bound: Roles that the user bound.

    Returns:
        The roles, the task's own first.
    """
    wanted = _setup_roles(task)
    for role, argument in _DEFENSES.get(bare(defense), {}).items():
        if argument is None or argument not in args:
            wanted.append(role)
    return [role for role in wanted if role not in {*bound, *(task.model_roles or ())}]


def _setup_roles(task: Task) -> list[str]:
    """What the task's `require_roles` will ask for."""
    steps = task.setup if isinstance(task.setup, Sequence) else [task.setup]
    return [
        str(role)
        for step in steps
        if is_registry_object(step) and registry_unqualified_name(step) == "require_roles"
        for role in registry_params(step).get("roles", ())
    ]
