"""Limits the tokens of an answer: as many as the undefended model has, unless the user chooses.

A comparison is unfair if a defense's answers may be longer than those of the undefended model. The
authors of ECSO, ETA and MLLM-Protector give every answer 1,024 new tokens; benchmarks here set
other limits, for example 256.
"""

from typing import Final, Literal

from inspect_ai.model import GenerateConfig

from vlmguard.guard.defense import Target

__all__ = ["AUTHORS_TOKENS", "BUDGETS", "Budget", "answer_limit"]

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
