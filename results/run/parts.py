"""The parts of a matrix: one without an attack, and one for each attack, with its twins.

A part is a matrix that Inspect can run, with a folder of its own:

    LOG_DIR/DEFENSE                     without an attack
    LOG_DIR/attacks/ATTACK/DEFENSE      a static attack is an argument of the tasks (`-T attack=`);
                                        a search or a dialogue is the solver `attack_loop`, around
                                        the defense as a model (`guarded/DEFENSE/TARGET`); so is
                                        a static one with a number of tries
    LOG_DIR/twins/ATTACK/DEFENSE        harmless requests under the same attack, the first 100

Twins are the partners of risky benchmarks, where the matrix has none of their harmless requests.
They are run without an attack too, which tells what the attack itself costs.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from inspect_ai import Task

from vlmguard.guard.attacks import ChosenAttack
from vlmguard.guard.cards import Role
from vlmguard.guard.errors import UserError
from vlmguard.guard.guarded_names import PROVIDER
from vlmguard.results.logs.attack import LOOP
from vlmguard.results.run.attack_choice import UNATTACKED, AttackChoice
from vlmguard.results.run.config import UNDEFENDED, Defense, Matrix, Target, roles
from vlmguard.results.run.partners import TWIN_LIMIT, twins
from vlmguard.results.run.roles_needed import card_of

__all__ = ["Part", "left_out", "parts"]

ATTACKS: Final = "attacks"
TWINS: Final = "twins"


@dataclass(frozen=True)
class Part:
    """A part of a matrix.

    Attributes:
        matrix: What Inspect runs.
        attack: What tables call the attack; `none` without one.
        twin: Whether it holds harmless requests that the matrix does not have itself.
        paired: Whether its risky benchmarks have such requests beside them, in another part.
        tries: The most tries of each risky request in a loop; None outside of one.
        roles: Roles that the attack asks, with their calls for one try.
    """

    matrix: Matrix
    attack: str = UNATTACKED
    twin: bool = False
    paired: bool = False
    tries: int | None = None
    roles: tuple[Role, ...] = ()

    @property
    def folders(self) -> list[str]:
        """The log folder of each of its defenses."""
        place = self.matrix.log_dir.rstrip("/")
        return [f"{place}/{each.label or each.name}" for each in self.matrix.defenses]


def parts(matrix: Matrix, tasks: Sequence[Task | None]) -> list[Part]:
    """All parts of a matrix, in the order in which they run.

    Args:
        matrix: The matrix.
        tasks: The task of each of its benchmarks; None without its data.

    Raises:
        UserError: There is no such attack or option, or a defense cannot be put inside a search.
    """
    plain = matrix.model_copy(update={"attacks": [AttackChoice(name=UNATTACKED)]})
    attacks = [each for each in matrix.attacks if each.chosen and not _roles_lacking(each, matrix)]
    if not attacks:
        return [Part(plain)]
    for defense in matrix.defenses:
        if (label := defense.label or defense.name) in (ATTACKS, TWINS):
            raise UserError(f"a defense is labelled {label}: give it another label:.")
    for step in matrix.benchmarks:
        if "attack" in step.args:
            raise UserError(
                f"{step.label or step.name} has an attack of its own in args:, beside attacks: of "
                "the configuration. Take one of the two out."
            )
    found = [Part(plain, paired=True)]
    harmless = twins(matrix.benchmarks, tasks)
    limit = min(TWIN_LIMIT, matrix.limit or TWIN_LIMIT)
    beside = plain.model_copy(update={"benchmarks": harmless, "limit": limit})
    if harmless:
        found.append(Part(_below(beside, TWINS, UNATTACKED), twin=True, paired=True))
    for attack in attacks:
        found += _attacked(attack, _below(plain, ATTACKS, attack.folder))
        if harmless:
            found += _attacked(attack, _below(beside, TWINS, attack.folder), twin=True)
    return found


def left_out(matrix: Matrix) -> list[str]:
    """A sentence for each optional attack that has no model for a role which it asks."""
    return [
        f"The attack {each.label or each.name} is left out: no model for the role {lacking[0]} "
        f"(--role {lacking[0]}=MODEL)."
        for each in matrix.attacks
        if (lacking := _roles_lacking(each, matrix))
    ]


def _roles_lacking(attack: AttackChoice, matrix: Matrix) -> list[str]:
    """The roles for lack of which an optional attack is left out."""
    chosen = attack.chosen
    if chosen is None or not attack.optional:
        return []
    bound: Collection[str] = set.intersection(*({*roles(matrix, d)} for d in matrix.defenses))
    return [role.name for role in chosen.card.roles if role.needed and role.name not in bound]


def _below(matrix: Matrix, kind: str, folder: str) -> Matrix:
    place = f"{matrix.log_dir.rstrip('/')}/{kind}/{folder}"
    return matrix.model_copy(update={"log_dir": place})


def _attacked(attack: AttackChoice, matrix: Matrix, twin: bool = False) -> list[Part]:
    """A matrix under an attack: one part, or a part for each defense inside a loop."""
    chosen = attack.chosen
    assert chosen is not None
    label = attack.label or attack.name
    if chosen.card.kind == "static" and attack.tries is None:
        steps = [
            step.model_copy(update={"args": {**step.args, "attack": attack.name}})
            for step in matrix.benchmarks
        ]
        under = matrix.model_copy(update={"benchmarks": steps})
        return [Part(under, label, twin, paired=True)]
    tries = attack.tries or chosen.card.tries
    return [
        Part(
            matrix.model_copy(
                update={
                    "targets": [_inside(defense, target, chosen) for target in matrix.targets],
                    "defenses": [
                        Defense(
                            name=LOOP,
                            args={"attack": attack.name, "tries": tries},
                            label=defense.label or defense.name,
                            roles=defense.roles,
                        )
                    ],
                }
            ),
            label,
            twin,
            paired=True,
            tries=tries,
            roles=chosen.card.roles,
        )
        for defense in matrix.defenses
    ]


def _inside(defense: Defense, target: Target, chosen: ChosenAttack) -> Target:
    """The target behind a defense, as a model."""
    if defense.name == UNDEFENDED:
        return target
    card = card_of(defense.name)
    if card is None or ".py" in defense.name:
        raise UserError(
            f"{defense.label or defense.name} under {chosen.card.name}: a search goes around a "
            f"defense as a model ({PROVIDER}/DEFENSE/MODEL), and that is for ours alone. Leave the "
            "attack or this defense out."
        )
    inside = {"model_args": target.model_args} if target.model_args else {}
    update = {
        "model": f"{PROVIDER}/{card.name}/{target.model}",
        "model_args": {**defense.args, **inside},
    }
    return target.model_copy(update=update)
