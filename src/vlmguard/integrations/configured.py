"""Makes a guard of what a carrier's user writes: names, options and models."""

from collections.abc import Mapping
from typing import Any, Literal

from inspect_ai.model import Model

from vlmguard.guard.errors import UserError, check_choice
from vlmguard.guard.outside import model_of
from vlmguard.guard.serving.guarding import Guard
from vlmguard.guard.serving.settings import OnServerFailure, Settings

__all__ = ["guard_of"]


def guard_of(
    defense: str,
    options: Mapping[str, Any] | None,
    models: Mapping[str, Any] | None,
    on_failure: OnServerFailure | None,
    timeout: float,
    block_status: Literal[200, 400] = 200,
) -> Guard:
    """A guard.

    Args:
        defense: Name of the defense.
        options: Its options.
        models: The models that it asks, by role: a name of Inspect's, a mapping with `model`,
            `model_args` and settings, or a model.
        on_failure: What is done if it cannot decide.
        timeout: Seconds that it has for one request.
        block_status: Whether a blocked request gets a normal completion (200) or an error (400).

    Raises:
        UserError: One of these is wrong or missing.
    """
    if on_failure is None:
        raise UserError(
            "on_failure: say what is done if the guard cannot decide: `refuse` the request, or "
            "let the `original` pass unguarded."
        )
    check_choice("on_failure", on_failure, ("original", "refuse"))
    check_choice("block_status", block_status, (200, 400))
    if not timeout > 0:
        raise UserError(f"timeout={timeout}: give more than 0 seconds.")
    for name, given in (("options", options), ("models", models)):
        if not isinstance(given or {}, Mapping):
            raise UserError(f"{name}: a mapping is needed, not {given!r}.")
    return Guard(
        Settings(
            defense,
            dict(options or {}),
            {role: _model(role, given) for role, given in (models or {}).items()},
            on_failure=on_failure,
            guard_timeout=timeout,
            block_status=block_status,
        )
    )


def _model(role: str, given: Any) -> Model:
    return given if isinstance(given, Model) else model_of(f"models: {role}", given)
