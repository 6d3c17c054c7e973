"""Defenses as Inspect solvers, one file each."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from inspect_ai.solver import Solver, solver

from vlmguard.guard.cards import registered
from vlmguard.solvers.ecso import ecso
from vlmguard.solvers.eta.solver import eta
from vlmguard.solvers.figstep_defense import figstep_defense
from vlmguard.solvers.mllm_protector import mllm_protector
from vlmguard.solvers.vlmguard import vlmguard

__all__ = ["ecso", "eta", "figstep_defense", "mllm_protector", "vlmguard"]


def _register_bare(factory: Callable[..., Solver]) -> None:
    """Also register a solver without its package prefix (`--solver ecso`).

    Inspect adds a prefix to the names of solvers in an installed package (`vlmguard/ecso`). A
    function whose module cannot be imported keeps its bare name.
    """

    @wraps(factory)
    def bare(*args: Any, **kwargs: Any) -> Solver:
        return factory(*args, **kwargs)

    bare.__module__ = "<bare>"
    solver(factory.__name__)(bare)


for _name in registered().defenses:
    _register_bare(globals()[_name])
