"""Who was defended by what: by a solver, or around the model itself (`guarded/`).

Both are the same defense on the same model, so both stand in the same place of every table.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from inspect_ai.log import EvalSpec

from vlmguard.guard.cards import cards
from vlmguard.guard.errors import UserError
from vlmguard.guard.guarded_names import guarded_name
from vlmguard.results.logs.answers import LeftOut, bare

__all__ = ["Defended", "defended_by", "options_passed"]


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
    solver = bare(spec.solver) if spec.solver else "none"
    try:
        guarded = guarded_name(spec.model, spec.model_args)
    except UserError:
        guarded = None
    # A defense may run as a solver on a model that is guarded by another.
    if guarded and names <= {guarded.defense} and solver not in cards().defenses:
        return Defended(guarded.model, guarded.model_args, guarded.defense, guarded.options)
    plain = "none" if solver == "generate" else solver
    defense = names.pop() if names else plain
    return Defended(spec.model, spec.model_args, defense, spec.solver_args_passed or {})


def options_passed(spec: EvalSpec) -> dict[str, Any]:
    """The arguments that a log's defense was given."""
    return defended_by(spec).options
