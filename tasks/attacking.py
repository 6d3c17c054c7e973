"""Puts a task under a static attack (`-T attack=NAME`).

The sample keeps its request: judges, scorers and readers of logs see what was asked for. Only the
messages change, before the defense and the target read them.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from anyio import to_thread
from inspect_ai.dataset import Dataset
from inspect_ai.model import ChatMessageUser
from inspect_ai.solver import Generate, Solver, TaskState, solver

from vlmguard.guard.attacks import Asked, attacked, chosen_attack
from vlmguard.guard.cards import Card
from vlmguard.guard.errors import UserError

__all__ = ["ATTACK", "UnderAttack", "attack_applied", "under_attack"]

ATTACK: Final = "attack"
"""The key, in the metadata of a task and of a sample, of the attack."""


@dataclass(frozen=True)
class UnderAttack:
    """Arguments for a `Task`.

    Attributes:
        setup: Changes the messages of a sample.
        metadata: Name, version, options, seed and font of the attack, and the twin: the harmless
            requests that go with it.
    """

    setup: list[Solver] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)


def under_attack(attack: str | None, dataset: Dataset, card: Card) -> UnderAttack:
    """Put a dataset under an attack; nothing without one.

    The first sample is attacked at once, so that a wrong option or a missing font stops the run
    before its first call.

    Args:
        attack: The attack, as users type it.
        dataset: The samples; those of other kinds than the attack means are its control.
        card: The benchmark.

    Raises:
        UserError: There is no such attack or option, it needs a loop, or it cannot be applied.
    """
    if attack is None:
        return UnderAttack()
    chosen = chosen_attack(attack)
    if chosen.card.kind != "static":
        raise UserError(
            f"-T attack={attack}: {chosen.card.title} asks more than once, which a solver does "
            f"around the whole defended system: --solver attack_loop -S attack={attack} --model "
            "guarded/DEFENSE/PROVIDER/MODEL (or --model PROVIDER/MODEL without a defense)."
        )
    if len(dataset):
        first = dataset[0]
        attacked(chosen, _asked(str(first.id), first.input, first.metadata or {}))
    facts = {**chosen.identity, "text": chosen.text}
    if card.partner:
        facts["twin"] = {"benchmark": card.partner.benchmark, "args": dict(card.partner.args)}
    return UnderAttack([attack_applied(attack)], {ATTACK: facts})


@solver
def attack_applied(attack: str) -> Solver:
    """Change a sample's messages as a static attack does; its `input` stays the request.

    Args:
        attack: The attack, as users type it.
    """
    chosen = chosen_attack(attack)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        asked = _asked(str(state.sample_id), state.messages, state.metadata)
        # Pictures are decoded and written: not on the event loop.
        done = await to_thread.run_sync(attacked, chosen, asked)
        state.messages = done.messages
        noted = {"name": chosen.card.name, "version": chosen.card.version, "seed": chosen.seed}
        state.metadata[ATTACK] = {
            **noted,
            "text": chosen.text,
            "steps": list(done.steps),
            "notes": done.notes,
        }
        return state

    return solve


def _asked(name: str, given: Any, metadata: dict[str, Any]) -> Asked:
    messages = [ChatMessageUser(content=given)] if isinstance(given, str) else list(given)
    meant = metadata.get("judge_text") or metadata.get("judge_request") or ""
    return Asked(
        messages,
        name,
        meant=str(meant),
        phrase=str(metadata.get("key_phrase") or ""),
        category=str(metadata.get("category") or ""),
    )
