"""The tags of a run: its defense and its attack, as the list of Inspect View shows them."""

from collections.abc import Mapping
from typing import Any, Final

from vlmguard.guard.errors import UserError
from vlmguard.guard.guarded_names import guarded_name

__all__ = ["UNDEFENDED", "attack_tag", "defense_tags"]

UNDEFENDED: Final = "undefended"
_LOOP: Final = "attack_loop"
_ASKING: Final = ("none", "generate", "multiple_choice", "dialogue", _LOOP)
"""Solvers that only put the questions."""


def attack_tag(attack: str) -> str:
    """The tag of an attack.

    Args:
        attack: The attack, as users type it.
    """
    return f"attack:{attack}"


def defense_tags(
    model: str,
    model_args: Mapping[str, Any],
    solver: str | None,
    solver_args: Mapping[str, Any],
) -> list[str]:
    """The tags of a run by its model and its solver: the defenses, else `undefended`.

    Args:
        model: The evaluated model, which may be `guarded/DEFENSE/PROVIDER/MODEL`.
        model_args: Its arguments.
        solver: The solver that the user named (`vlmguard`, `vlmguard/ecso`, `FILE.py@NAME`), or
            None for the task's own.
        solver_args: Its arguments.
    """
    name = (solver or "none").rpartition("@")[2].rpartition("/")[2].removesuffix(".py")
    try:
        guarded = guarded_name(model, model_args)
    except UserError:
        guarded = None
    defenses = [] if name in _ASKING else [name]
    if guarded is not None and guarded.defense not in defenses:
        defenses.append(guarded.defense)
    looped = solver_args.get("attack") if name == _LOOP else None
    return [*(defenses or [UNDEFENDED]), *([attack_tag(str(looped))] if looped else [])]
