"""Which model is asked as the guard: the one in the role `guard`, or another for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from inspect_ai.model import Model

from vlmguard.guard.roles import one_model

__all__ = ["ROLE", "asking", "guard_model"]

ROLE: Final = "guard"
"""The role of a guard model (`--model-role guard=MODEL`)."""

_ASKED: Final[ContextVar[Model | None]] = ContextVar("guard model", default=None)


@contextmanager
def asking(model: Model) -> Iterator[None]:
    """Ask this model in the place of the one in the role: the evaluated model, or a judge.

    Args:
        model: The model, for all that is checked inside the block.
    """
    token = _ASKED.set(model)
    try:
        yield
    finally:
        _ASKED.reset(token)


def guard_model() -> Model:
    """The model to ask.

    Raises:
        PrerequisiteError: No model is in the role, and no other is named.
    """
    return _ASKED.get() or one_model(ROLE)
