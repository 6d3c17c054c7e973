"""Defenses as Inspect solvers, the replay of dialogues and the loop of attacks.

One file and one line here each.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from inspect_ai.solver import Solver, solver

from vlmguard.guard.cards import check_names, registered
from vlmguard.solvers.adashield import adashield as adashield
from vlmguard.solvers.attack_loop import attack_loop as attack_loop
from vlmguard.solvers.caption_only import caption_only as caption_only
from vlmguard.solvers.coca import coca as coca
from vlmguard.solvers.dialogue import dialogue as dialogue
from vlmguard.solvers.ecso import ecso as ecso
from vlmguard.solvers.eta.solver import eta as eta
from vlmguard.solvers.figstep_defense import figstep_defense as figstep_defense
from vlmguard.solvers.guard_model import guard_model as guard_model
from vlmguard.solvers.guarded import guarded as guarded
from vlmguard.solvers.jailguard.solver import jailguard as jailguard
from vlmguard.solvers.mllm_protector import mllm_protector as mllm_protector
from vlmguard.solvers.policy_route.solver import policy_route as policy_route
from vlmguard.solvers.rapguard import rapguard as rapguard
from vlmguard.solvers.rethink import rethink as rethink
from vlmguard.solvers.safety_prompt import safety_prompt as safety_prompt
from vlmguard.solvers.self_reminder import self_reminder as self_reminder
from vlmguard.solvers.sia.solver import sia as sia
from vlmguard.solvers.smooth import smooth as smooth
from vlmguard.solvers.vlmguard import vlmguard as vlmguard

_NO_DEFENSES = ("attack_loop", "dialogue")

check_names(globals(), {*registered().defenses, *_NO_DEFENSES})


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


# A file of somebody else's may have registered a card before.
for _name in [name for name in (*registered().defenses, *_NO_DEFENSES) if name in globals()]:
    _register_bare(globals()[_name])
