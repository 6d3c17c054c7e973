"""Puts a task under a static attack (`-T attack=NAME`).

The sample keeps its request: judges, scorers and readers of logs see what was asked for. Only the
messages change, before the defense and the target read them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from anyio import to_thread
from inspect_ai.dataset import Dataset
from inspect_ai.scorer import Scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from vlmguard.guard.attacks import ATTACK, ChosenAttack, asked_of, attacked, chosen_attack
from vlmguard.guard.cards import Card
from vlmguard.guard.changes_told import tell_change
from vlmguard.guard.defense import Conversation
from vlmguard.guard.errors import UserError
from vlmguard.guard.run_tags import attack_tag
from vlmguard.scorers.leak import leak

__all__ = ["ATTACK", "UnderAttack", "attack_applied", "static_attack", "under_attack"]

_SCORERS: Final[Mapping[str, Callable[[], Scorer]]] = {"leak": leak}
"""Scorers that an attack's card may name."""

_TRIED: Final = 5
"""Samples that are attacked at most before a run."""


@dataclass(frozen=True)
class UnderAttack:
    """Arguments for a `Task`.

    Attributes:
        setup: Changes the messages of a sample.
        scorers: What the attack's card adds to the task's own.
        metadata: Name, version, options, seed and font of the attack, and the twin: the harmless
            requests that go with it.
        tags: The attack as it is listed in Inspect View.
    """

    setup: list[Solver] = field(default_factory=list)
    scorers: list[Scorer] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)


def under_attack(attack: str | None, dataset: Dataset, card: Card) -> UnderAttack:
    """Put a dataset under an attack; nothing without one.

    A sample is attacked at once, so that a wrong option or a missing font stops the run before its
    first call: the first one, or if it cannot be attacked so (the run may leave it out), one of the
    next.

    Args:
        attack: The attack, as users type it.
        dataset: The samples; those of other kinds than the attack means are its control.
        card: The benchmark.

    Raises:
        UserError: There is no such attack or option, it needs a loop, or it cannot be applied.
    """
    if attack is None:
        return UnderAttack()
    chosen = static_attack(attack)
    _try_one(chosen, dataset)
    facts = {**chosen.identity, "text": chosen.text}
    if card.partner:
        facts["twin"] = {"benchmark": card.partner.benchmark, "args": dict(card.partner.args)}
    scorers = [_SCORERS[chosen.card.scorer]()] if chosen.card.scorer else []
    tags = [attack_tag(attack)]
    return UnderAttack([attack_applied(attack)], scorers, {ATTACK: facts}, tags)


def static_attack(attack: str) -> ChosenAttack:
    """Read an attack that asks once.

    Args:
        attack: The attack, as users type it.

    Raises:
        UserError: There is no such attack or option, or it needs a loop.
    """
    chosen = chosen_attack(attack)
    if chosen.card.kind != "static":
        raise UserError(
            f"-T attack={attack}: {chosen.card.title} asks more than once, which a solver does "
            f"around the whole defended system: --solver attack_loop -S attack={attack} --model "
            "guarded/DEFENSE/PROVIDER/MODEL (or --model PROVIDER/MODEL without a defense)."
        )
    return chosen


def _try_one(chosen: ChosenAttack, dataset: Dataset) -> None:
    """Attack the first sample that can be attacked; the fault of the first one, if none can."""
    fault: UserError | None = None
    for sample in dataset[:_TRIED]:
        try:
            attacked(chosen, asked_of(str(sample.id), sample.input, sample.metadata or {}))
        except UserError as error:
            fault = fault or error
        else:
            return
    if fault is not None:
        raise fault


@solver
def attack_applied(attack: str) -> Solver:
    """Change a sample's messages as a static attack does; its `input` stays the request.

    Args:
        attack: The attack, as users type it.
    """
    chosen = chosen_attack(attack)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        asked = asked_of(str(state.sample_id), state.messages, state.metadata)
        # Pictures are decoded and written: not on the event loop.
        done = await to_thread.run_sync(attacked, chosen, asked)
        before, after = (Conversation(list(each)).text for each in (asked.messages, done.messages))
        tell_change(f"Attacked by {chosen.card.name}", before, after, done.steps)
        state.messages = done.messages
        # All of it in each sample: a font may change before a retry.
        noted = chosen.identity
        told = {"text": chosen.text, "steps": list(done.steps), "notes": done.notes}
        # A new dictionary: the old one is the data set's own, which Inspect copies for metrics.
        state.metadata = state.metadata | {ATTACK: {**noted, **told}}
        return state

    return solve
