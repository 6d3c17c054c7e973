"""A defense outside of an Inspect run: made of a command's words, and asked with its models."""

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from typing import Any

# Inspect has no public reader of `-S` and `--model-role`, no public way to ask models with roles
# outside of a run, and no public name of the error of a provider without its key.
from inspect_ai._util.config import parse_cli_args
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.log._transcript import Transcript, init_transcript
from inspect_ai.model import GenerateConfig, Model
from inspect_ai.model._model import init_model_roles, init_sample_model_data
from rich.text import Text

from vlmguard.guard.decision import OnFailure
from vlmguard.guard.defense import Defense, check_options, defense_named
from vlmguard.guard.errors import UserError
from vlmguard.guard.model_secrets import make_model

__all__ = ["asking", "made_of", "model_of", "options_of", "roles_of"]


def options_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of the defense, from `-S`."""
    return parse_cli_args(arguments.options)


def roles_of(arguments: argparse.Namespace) -> dict[str, Model]:
    """The models by role, from `--model-role` and `--rewriter`.

    Raises:
        UserError: One is named twice, or cannot be made.
    """
    named: dict[str, Any] = parse_cli_args(arguments.model_role)
    if arguments.rewriter:
        if "rewriter" in named:
            raise UserError("--rewriter and --model-role rewriter=... name two models; give one.")
        named["rewriter"] = arguments.rewriter
    return {role: model_of(f"--model-role {role}", value) for role, value in named.items()}


def model_of(option: str, value: Any) -> Model:
    """A model that a user typed: its name, or a mapping with `model`, `model_args` and settings.

    Args:
        option: What it stands behind (`--target`).
        value: What was typed.

    Raises:
        UserError: It cannot be made; its provider may want a key.
    """
    given = dict(value) if isinstance(value, dict) else {"model": value}
    name, inside = given.pop("model", None), given.pop("model_args", None) or {}
    try:
        return make_model(str(name), dict(inside), GenerateConfig(**given))
    except UserError:
        raise
    except PrerequisiteError as error:  # a key or a package of the provider that is missing
        said = " ".join(Text.from_markup(str(error.message)).plain.split())
        raise UserError(f"{option}={name}: {said}") from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{option}={name}: {error}") from error


def made_of(
    name: str,
    options: Mapping[str, Any],
    roles: Mapping[str, Model],
    on_failure: OnFailure | None = None,
) -> Defense:
    """A defense with these options and models.

    Args:
        name: Its name.
        options: Its options.
        roles: The models that it asks, by role.
        on_failure: What is done if it cannot decide, where it has that option; its own by default.

    Raises:
        UserError: No such defense, option or role, or a role without a model.
    """
    made = defense_named(name)
    check_options(made, name, options)
    given = dict(options)
    # A caller's choice is the defense's too: one vocabulary, and nothing is decided twice.
    if on_failure is not None and "on_failure" in signature(made).parameters:
        given["on_failure"] = on_failure
    defense = made(**given)
    _check_roles(defense, options, roles)
    return defense


@contextmanager
def asking(roles: Mapping[str, Model]) -> Iterator[None]:
    """Lets a defense find its models; what Inspect notes of the calls ends with the block."""
    init_model_roles(dict(roles))
    init_transcript(Transcript(log_model_api=False))
    init_sample_model_data()
    try:
        yield
    finally:
        init_transcript(Transcript(log_model_api=False))


def _check_roles(defense: Defense, options: Mapping[str, Any], roles: Mapping[str, Model]) -> None:
    """Refuse a role that nobody has, and one that is needed and has no model.

    Raises:
        UserError: The message names the option.
    """
    card = defense.card
    known = {role.name for role in card.roles}
    for name in roles:
        if name not in known:
            raise UserError(
                f"--model-role {name}: {card.name} has no such role. It has: "
                f"{', '.join(sorted(known)) or 'none'}."
            )
    missing = [
        f"no model for the role {role.name}"
        for role in card.roles
        if role.needed and role.name not in roles and role.option not in options
    ]
    missing += card.lacks(options, set(roles), "")
    if missing:
        said = "; ".join(dict.fromkeys(missing))
        roles_named = [role.name for role in card.roles if f"the role {role.name}" in said]
        ways = ", ".join(f"--model-role {name}=MODEL" for name in roles_named)
        raise UserError(f"--defense {card.name}: {said}.{f' Give {ways}.' if ways else ''}")
