"""The name of a model behind a defense, `guarded/DEFENSE/PROVIDER/MODEL`, and its arguments."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vlmguard.guard.defense import Defense, check_options, defense_named
from vlmguard.guard.errors import UserError

__all__ = ["PROVIDER", "GuardedName", "defense_of", "guarded_name", "made_defense"]

PROVIDER: Final = "guarded"

_INSIDE: Final = "model_args"
# Inspect's own arguments of every model: those of the model inside.
_OF_ALL: Final = ("base_url", "api_key")


@dataclass(frozen=True)
class GuardedName:
    """What a guarded model is made of.

    Attributes:
        defense: Name of the defense.
        options: Its options.
        model: The model inside, as PROVIDER/MODEL.
        model_args: The arguments of the model inside.
    """

    defense: str
    options: dict[str, Any]
    model: str
    model_args: dict[str, Any]


def guarded_name(model: str, arguments: Mapping[str, Any]) -> GuardedName | None:
    """Take the name of a guarded model apart; None for a model without a defense.

    Args:
        model: Inspect's name of a model.
        arguments: Its arguments (`-M`).

    Raises:
        UserError: It has no model inside, or `model_args` is no mapping.
    """
    provider, _, rest = model.partition("/")
    if provider != PROVIDER:
        return None
    defense, _, inner = rest.partition("/")
    if not all(inner.partition("/")):
        raise UserError(f"model {model}: write guarded/DEFENSE/PROVIDER/MODEL.")
    inside = arguments.get(_INSIDE) or {}
    if not isinstance(inside, dict):
        raise UserError(f"-M {_INSIDE}={inside}: give a mapping, such as {{device: cpu}}.")
    given = {name: arguments[name] for name in _OF_ALL if arguments.get(name) is not None}
    options = {name: arguments[name] for name in arguments if name not in (_INSIDE, *_OF_ALL)}
    return GuardedName(defense, options, inner, {**given, **inside})


def defense_of(name: GuardedName) -> type[Defense]:
    """The class of a guarded model's defense, after a check of its options.

    Raises:
        UserError: There is no such defense, it has no such option, or a value is of another type.
    """
    defense = defense_named(name.defense)
    check_options(
        defense,
        name.defense,
        name.options,
        "-M",
        beside=(_INSIDE,),
        more=f" Arguments of the model inside go into {_INSIDE}.",
    )
    return defense


def made_defense(name: GuardedName) -> Defense:
    """The defense of a guarded model.

    Raises:
        MissingFile: A file that an option names is not there.
        UserError: As for `defense_of`, or an option is wrong; its name is that of `-M`.
    """
    defense = defense_of(name)
    try:
        return defense(**name.options)
    except UserError as error:
        said = error.text.replace("-S ", "-M ")
        if "-M " not in said:
            options = ", ".join(f"-M {option}" for option in name.options)
            said = f"{PROVIDER}/{name.defense}, {options}: {said}"
        raise type(error)(said) from error
