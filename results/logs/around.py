"""Who was defended by what: by a solver, or around the model itself (`guarded/`).

Both are the same defense on the same model, so both stand in the same place of every table.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from inspect_ai.log import EvalSpec

from vlmguard.guard.cards import cards
from vlmguard.guard.errors import UserError
from vlmguard.guard.guarded_names import GuardedName, guarded_name
from vlmguard.results.logs.answers import LeftOut, bare
from vlmguard.results.logs.attack import LOOP

__all__ = ["Defended", "asked_by", "defended_by", "options_passed"]

_UNDEFENDED: Final = ("none", "generate")
# Solvers that only put the questions: a run with one and no defense is undefended.
_ASKING: Final = ("multiple_choice", "dialogue", LOOP, "react", "basic_agent")


@dataclass(frozen=True)
class Defended:
    """The model of a log and its defense.

    Attributes:
        target: The model that answered.
        target_args: Its arguments.
        defense: Name of the defense; `none` without one.
        options: Its arguments.
    """

    target: str
    target_args: dict[str, Any] = field(default_factory=dict)
    defense: str = "none"
    options: dict[str, Any] = field(default_factory=dict)


def defended_by(spec: EvalSpec, recorded: Iterable[str] = ()) -> Defended:
    """The model of a log and its defense.

    Args:
        spec: The log's specification.
        recorded: Defenses that its samples name, which count first: a solver may have any name.

    Raises:
        LeftOut: Its samples name several defenses.
    """
    names = set(recorded) - {"none"}
    if len(names) > 1:
        raise LeftOut(f"its samples name several defenses: {', '.join(sorted(names))}")
    guarded = _guarded(spec)
    # A defense may run as a solver on a model that is guarded by another.
    if guarded and names <= {guarded.defense} and _solver(spec) not in cards().defenses:
        return Defended(guarded.model, guarded.model_args, guarded.defense, guarded.options)
    if not names and asked_by(spec):
        return Defended(spec.model, spec.model_args)
    plain = "none" if _solver(spec) in _UNDEFENDED else _solver(spec)
    defense = names.pop() if names else plain
    return Defended(spec.model, spec.model_args, defense, spec.solver_args_passed or {})


def asked_by(spec: EvalSpec) -> dict[str, Any]:
    """The solver that put the questions in place of the task's own, if it is not the defense.

    Only runs with the same one can be compared: a dialogue and a single question differ.

    Returns:
        `solver` and, with arguments, `solver_args`; nothing for the task's own and `generate`.
    """
    solver = _solver(spec)
    alone = solver not in _ASKING and _guarded(spec) is None
    if alone or solver in _UNDEFENDED or solver in cards().defenses:
        return {}
    args = spec.solver_args_passed or {}
    return {"solver": solver, **({"solver_args": args} if args else {})}


def _solver(spec: EvalSpec) -> str:
    return bare(spec.solver) if spec.solver else "none"


def _guarded(spec: EvalSpec) -> GuardedName | None:
    try:
        return guarded_name(spec.model, spec.model_args)
    except UserError:
        return None


def options_passed(spec: EvalSpec) -> dict[str, Any]:
    """The arguments that a log's defense was given."""
    return defended_by(spec).options
