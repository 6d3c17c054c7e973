"""How many tokens an answer may have: as many as the undefended model's, unless the user says so.

A defense whose answers may run longer than those it is compared with is not compared fairly. The
authors of ECSO, ETA and MLLM-Protector give every answer 1,024 new tokens; benchmarks here give
other numbers, 256 say.
"""

from typing import Final, Literal

from inspect_ai.event import ModelEvent
from inspect_ai.log import transcript
from inspect_ai.model import get_model
from inspect_ai.solver import Generate, TaskState

__all__ = ["AUTHORS_TOKENS", "BUDGETS", "Budget", "first_answer"]

Budget = Literal["task", "authors"]
"""Whose limit answers have: the task's, or 1,024 tokens as the defenses' authors."""

BUDGETS: Final = ("task", "authors")

AUTHORS_TOKENS: Final = 1024


async def first_answer(
    state: TaskState, generate: Generate, budget: Budget
) -> tuple[TaskState, int | None]:
    """Have the target answer, and tell how long the answers that follow may be.

    Args:
        state: The state before generation.
        generate: Inspect's own.
        budget: With `authors`, this answer too has 1,024 tokens, or the target's `--max-tokens`
            where these are more (a target that thinks first needs room).

    Returns:
        The state after generation, and the limit that it answered under (> 0); None where neither
        task, user nor provider set one.
    """
    if budget == "authors":
        tokens = max(AUTHORS_TOKENS, get_model().config.max_tokens or 0)
        return await generate(state, max_tokens=tokens), tokens
    state = await generate(state)
    # Settings of a task are told to nobody but the call, which is noted with all that was in force.
    call = transcript().history.events_since_last(ModelEvent)[0]
    return state, call.config.max_tokens if isinstance(call, ModelEvent) else None
