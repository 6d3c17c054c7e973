"""Controls: two solvers that ignore the request, as a reference for real defenses.

    inspect eval tasks/microworld.py --solver training/microworld/use/controls.py@always_caution

They are not defenses of the suite, so their cards are not registered; the matrix adds them to every
table.
"""

from inspect_ai.solver import Solver, solver

from vlmguard.guard.cards import Calls, DefenseCard
from vlmguard.guard.decision import Decision
from vlmguard.guard.defense import Conversation, Defense, Target
from vlmguard.guard.record import DefenseRecord
from vlmguard.solvers.defended import defended
from vlmguard.training.microworld.world.language import GENERAL_CAUTION


class AlwaysCaution(Defense):
    """Add the same caution to every request."""

    card = DefenseCard(
        name="always_caution",
        title="Always a caution",
        version="",
        paper="",
        summary="adds the same caution to every request",
        target_calls=Calls(1, 1),
    )

    async def before(
        self, conversation: Conversation, record: DefenseRecord, target: Target | None
    ) -> Decision:
        """Add the caution."""
        record.rewritten = f"{conversation.text}. {GENERAL_CAUTION}"
        messages = conversation.with_request(record.rewritten)
        return Decision("rewrite", record.rewritten, "warned", messages=messages)


class AlwaysRefuse(Defense):
    """Refuse every request, without a call."""

    card = DefenseCard(
        name="always_refuse",
        title="Always a refusal",
        version="",
        paper="",
        summary="refuses every request",
        target_calls=Calls(0, 0),
    )

    async def before(
        self, conversation: Conversation, record: DefenseRecord, target: Target | None
    ) -> Decision:
        """Block the request."""
        return Decision("block", "", "always")


@solver
def always_caution() -> Solver:
    """Add the same caution to every request."""
    return defended(AlwaysCaution())


@solver
def always_refuse() -> Solver:
    """Refuse every request, without a call."""
    return defended(AlwaysRefuse())
