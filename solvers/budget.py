"""Limits the tokens of an answer: as many as the undefended model has, unless the user chooses.

A comparison is unfair if a defense's answers may be longer than those of the undefended model. The
authors of ECSO, ETA and MLLM-Protector give every answer 1,024 new tokens; benchmarks here set
other limits, for example 256.
"""

from typing import Final, Literal

from inspect_ai.event import ModelEvent
from inspect_ai.log import transcript
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.solver import Generate, TaskState

from vlmguard.guard.defense import Target

__all__ = ["AUTHORS_TOKENS", "BUDGETS", "Budget", "answer_limit", "first_answer"]

Budget = Literal["task", "authors"]
"""The limit of answers: the `task`'s, or 1,024 tokens as the defenses' `authors` set."""

BUDGETS: Final = ("task", "authors")

AUTHORS_TOKENS: Final = 1024


def answer_limit(budget: Budget, target: Target) -> GenerateConfig | None:
    """The limit of the target's first answer, for `Defense.answering`.

    Later answers have as many tokens: `target.tokens`.

    Args:
        budget: Whose limit.
        target: The target, which keeps its `--max-tokens` if that is more than the authors' (a
            target that thinks first needs room).

    Returns:
        None for the task's own limit.
    """
    if budget == "task":
        return None
    return GenerateConfig(max_tokens=max(AUTHORS_TOKENS, target.config.max_tokens or 0))


async def first_answer(
    state: TaskState, generate: Generate, budget: Budget
) -> tuple[TaskState, int | None]:
    """Let the target answer, and return the token limit of the answers that follow.

    Args:
        state: The state before generation.
        generate: Inspect's own.
        budget: With `authors`, this answer too has 1,024 tokens, or the target's `--max-tokens` if
            that is more (a target that thinks first needs room).

    Returns:
        The state after generation, and the limit of this answer (> 0); None if neither task, user
        nor provider sets one.
    """
    if budget == "authors":
        tokens = max(AUTHORS_TOKENS, get_model().config.max_tokens or 0)
        return await generate(state, max_tokens=tokens), tokens
    state = await generate(state)
    # Inspect passes a task's settings to the call only, so read them from the call's record.
    call = transcript().history.events_since_last(ModelEvent)[0]
    return state, call.config.max_tokens if isinstance(call, ModelEvent) else None
