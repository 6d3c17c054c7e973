"""What a run needs beside data, so that what is missing is found before anything is paid for.

Every task and solver of ours finds its models before its first call. In a matrix that comes too
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

from vlmguard.guard.sampling import SERVERS
from vlmguard.results.logs.answers import bare
from vlmguard.results.run.config import FILL_IN, Defense, ModelChoice

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
    wanted = [*_setup_roles(task), *roles_of_defense(defense, args)]
    return [role for role in wanted if role not in {*bound, *(task.model_roles or ())}]


def roles_of_defense(defense: str, args: dict[str, Any]) -> list[str]:
    """Roles that a defense needs a model for, where no argument names another.

    Args:
        defense: Name of the solver.
        args: Its arguments.
    """
    needed = _DEFENSES.get(bare(defense), {}).items()
    return [role for role, argument in needed if argument is None or argument not in args]


def cannot_start(defense: Defense, bound: Collection[str], target: ModelChoice) -> list[str]:
    """What else a defense lacks, as far as its arguments tell.

    Args:
        defense: The defense.
        bound: Roles that have a model.
        target: The evaluated model.

    Returns:
        What is missing, each with the way out.
    """
    if bare(defense.name) != "eta":
        return []
    args, model = defense.args, target.model
    missing = []
    if not {"reward", "trust_remote_code"} & args.keys() and "reward" not in bound:
        missing.append(
            "consent to the code of the reward model (trust_remote_code: true), or a model in the "
            "role reward"
        )
    by_sentence = args.get("decoding", "sentence") == "sentence"
    vouched = args.get("continues") or args.get("server")
    known = model.split("/")[0] in ("hf-vlm", *SERVERS) or FILL_IN in model
    if by_sentence and not vouched and not known:
        missing.append(
            f"a target that continues a prefix, which {model} is not known to do (decoding: "
            "response, server: vllm|sglang, or continues: true)"
        )
    return missing


def _setup_roles(task: Task) -> list[str]:
    """What the task's `require_roles` will ask for."""
    steps = task.setup if isinstance(task.setup, Sequence) else [task.setup]
    return [
        str(role)
        for step in steps
        if is_registry_object(step) and registry_unqualified_name(step) == "require_roles"
        for role in registry_params(step).get("roles", ())
    ]
